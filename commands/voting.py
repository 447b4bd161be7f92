"""Who may vote: selectors of a frozen rule resolved to people as they are now, for every door and for the worker."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from countersign.approvals import Approval, Stage, Voters
from countersign.commands import Command
from countersign.tallies import Case, Tally, evaluate, open_sets, satisfied
from store.approvals import ApprovalRequestRow, DecisionRow, as_decision, find_requests, find_standing
from store.databases import ReadSession
from store.delegations import Delegation, find_delegations
from store.people import Person, find_all_people, find_people
from store.runs import RunRow

from .authorizing import INACTIVE, Allowed, Refused, held, is_auditor
from .policies import Policy
from .rulebooks import Rulebook
from .signing import Signatures, needs_passkey, read_signatures
from .sites import Site

_WORDS: Final = {
    "permission": "who holds ",
    "person": "",
    "group": "group ",
    "role": "role ",
    "on-call": "on call for ",
    "owner-of": "the owner of its ",
}


@dataclass(frozen=True)
class Matter:
    """What a vote is about, as selectors look at it. `at` None means at any time: whoever is in a schedule's rotation is on call.

    `barred` has changed it last; to the `holder` the asker has handed it over.
    """

    asker: str
    command: Command | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    manager: str = ""
    barred: frozenset[str] = frozenset()
    at: datetime | None = None
    holder: str = ""


def matter_of(rulebook: Rulebook, run: RunRow, *, at: datetime | None = None) -> Matter:
    """The run as selectors look at it."""
    return Matter(
        asker=run.asker,
        command=rulebook.registry.find(run.command),
        arguments=run.arguments,
        manager=rulebook.managers.get(run.asker, ""),
        barred=frozenset(filter(None, [run.edited_by])),
        at=at,
        holder=run.handed_to or "",
    )


def rule_of(request: ApprovalRequestRow) -> Approval | None:
    """The frozen rule; None for one that means nothing, which only somebody who took the web process over can have written."""
    try:
        return _read_rule(json.dumps(request.rule, sort_keys=True))
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def belongs(policy: Policy, person: Person, voters: Voters, matter: Matter) -> bool:
    """Whether this person is in the set of voters; being active is asked elsewhere."""
    return any(_selected(policy, person, one, matter) for one in voters.of) and all(
        isinstance(held(policy, person, permission, matter.command), Allowed) for permission in voters.also
    )


def may_vote(policy: Policy, person: Person, rule: Approval, matter: Matter, *, sets: Sequence[Voters] | None = None) -> Allowed | Refused:
    """Whether this person's vote would count under a frozen rule: in one of `sets`, or in any stage when none are given."""
    if not person.active:
        return INACTIVE
    if person.service:
        return Refused("Service accounts never vote.", "service_account")
    if person.name == matter.asker and not rule.asker_may:
        return Refused("You asked for this; someone else must approve your request.", "self_approval")
    if person.name == matter.holder:
        return Refused("You answer for this request; someone else must approve it.", "self_approval")
    if person.name in matter.barred and person.name != matter.asker and not rule.editor_may:
        return Refused("You changed this request last; someone else must approve it.", "self_approval")
    chosen = all_sets(rule) if sets is None else sets
    if any(belongs(policy, person, one, matter) for one in chosen):
        return Allowed("is among " + "; ".join(written_set(one) for one in chosen))
    if rule.by:
        wanted = (held(policy, person, one, matter.command) for one in (rule.by, *rule.also))
        return next((one for one in wanted if isinstance(one, Refused)), Refused("You are not asked here.", "missing_permission"))
    return Refused(f"This needs {'; and '.join(written_set(one) for one in chosen)}.", "missing_permission")


def voters(
    policy: Policy, people: Iterable[Person], rule: Approval, matter: Matter, *, sets: Sequence[Voters] | None = None
) -> list[Person]:
    """Everybody whose vote would count, in the order given."""
    return [one for one in people if isinstance(may_vote(policy, one, rule, matter, sets=sets), Allowed)]


def may_see(rulebook: Rulebook, person: Person, run: RunRow, rule: Approval | None) -> bool:
    """Whether this person may read a run: `staff` runs are open to every active person, `private` ones to those concerned."""
    if not person.active:
        return False
    if run.visibility == "staff" or person.name in (run.asker, run.owner, run.handed_to) or run.owner in rulebook.policy.groups_of(person):
        return True
    if rule is not None and isinstance(may_vote(rulebook.policy, person, rule, matter_of(rulebook, run)), Allowed):
        return True
    return is_auditor(rulebook.policy, person)


async def readable_by(session: ReadSession, rulebook: Rulebook, person: Person, runs: Sequence[RunRow]) -> list[RunRow]:
    """Those of these runs that this person may read, in their order."""
    requests = await find_requests(session, [one.id for one in runs if one.visibility != "staff"])
    rules = {id_: rule_of(request) for id_, request in requests.items()}
    return [one for one in runs if may_see(rulebook, person, one, rules.get(one.id))]


def all_sets(rule: Approval) -> list[Voters]:
    """Every set of every stage, those that it escalates or falls back to included."""
    return [replace(one, of=(*one.of, *stage.escalate_to, *stage.fallback)) for stage in rule.steps for one in stage.sets]


def written_set(voters: Voters) -> str:
    """`2 of group sre or person max`, as a sentence shows it."""
    names = " or ".join(_written_selector(one) for one in voters.of)
    return f"{voters.count} of {names}" if voters.count > 1 else names


def written_stage(stage: Stage) -> str:
    return (" and " if stage.need == "all" else " or ").join(written_set(one) for one in stage.sets)


@dataclass(frozen=True)
class Ballot:
    """A request with its decisions and the people concerned as they are now. Everything that counts votes counts them here."""

    policy: Policy
    rule: Approval
    case: Case
    matter: Matter
    people: Mapping[str, Person]
    decisions: Sequence[DecisionRow]
    delegations: Sequence[Delegation]
    run_id: UUID
    now: datetime
    signatures: Signatures = field(default_factory=Signatures)

    @property
    def signed(self) -> bool:
        """Whether only votes count that a passkey signed."""
        return needs_passkey(self.rule, self.matter.command)

    def tally(self) -> Tally:
        """Where the request stands now."""
        return evaluate(self.rule, self.case, self._counted(signed=self.signed), now=self.now, belongs=self._belongs)

    def meets(self, rule: Approval) -> bool:
        """Whether the approvals would also be enough for the rule that policy wants now."""
        counted = self._counted(signed=self.signed or needs_passkey(rule, None))
        return satisfied(filled(self.policy, rule, self.people.values(), self.matter), self.case, counted, belongs=self._belongs)

    def sets(self, tally: Tally) -> tuple[Voters, ...]:
        """The sets of the stage that votes now."""
        if tally.stage >= len(self.rule.steps):
            return ()
        return open_sets(self.rule.steps[tally.stage], started=tally.started or self.case.opened_at, now=self.now)

    def waiting_for(self, people: Iterable[Person], tally: Tally) -> list[Person]:
        """Those of these people who may vote now and have not."""
        able = voters(self.policy, people, self.rule, self.matter, sets=self.sets(tally))
        return [one for one in able if not self.has_voted(one.name)]

    def right_of(self, person: Person, tally: Tally) -> tuple[Allowed | Refused, str]:
        """Whether the person may vote at the stage that votes now, and for whom: '' for themselves, else whoever delegated to them."""
        sets = self.sets(tally)
        own = may_vote(self.policy, person, self.rule, self.matter, sets=sets)
        if isinstance(own, Allowed) or own.reason != "missing_permission":
            return own, ""
        for one in self._delegations():
            chief = self.people.get(one.person)
            if one.delegate != person.name or chief is None or not one.covers(self.now, self.run_id) or self.has_voted(chief.name):
                continue
            if isinstance(answer := may_vote(self.policy, chief, self.rule, self.matter, sets=sets), Allowed):
                return answer, chief.name
        return own, ""

    def with_vote(self, row: DecisionRow) -> "Ballot":
        """The ballot once this vote has been cast on it, at the moment when it was."""
        return replace(self, decisions=[*self.decisions, row], now=row.decided_at)

    def has_voted(self, name: str) -> bool:
        """Whether they have voted, or somebody in their place."""
        return any(name in (row.person, row.on_behalf) for row in self.decisions)

    def _delegations(self) -> Sequence[Delegation]:
        """None where a passkey has to sign: nobody can stand in for the one who holds it."""
        return () if self.signed else self.delegations

    def _belongs(self, name: str, voters: Voters) -> bool:
        person = self.people.get(name)
        return person is not None and person.active and not person.service and belongs(self.policy, person, voters, self.matter)

    def _counted(self, *, signed: bool) -> list[Any]:
        """A denial stays; an approval counts while its giver is active and, if it was given for somebody, was so by a delegation."""
        return [as_decision(row) for row in self.decisions if row.verdict == "deny" or self._stands(row, signed=signed)]

    def _stands(self, row: DecisionRow, *, signed: bool) -> bool:
        giver = self.people.get(row.person)
        if signed and (row.id not in self.signatures.proofs or row.on_behalf):
            return False
        if giver is None or not giver.active or giver.service:
            return False
        return not row.on_behalf or any(
            one.person == row.on_behalf and one.delegate == row.person and one.covers(row.decided_at, self.run_id)
            for one in self._delegations()
        )


async def read_ballot(
    session: ReadSession, rulebook: Rulebook, request: ApprovalRequestRow, run: RunRow, *, person: str = "", everybody: bool = False
) -> Ballot:
    """The ballot of a request; `person` is whoever is about to vote. `everybody` reads all people, for those who look for voters."""
    people = {one.name: one for one in await find_all_people(session)} if everybody else None
    (ballot,) = await read_ballots(session, rulebook, [(request, run)], person=person, people=people)
    return ballot


async def read_ballots(
    session: ReadSession,
    rulebook: Rulebook,
    pairs: Sequence[tuple[ApprovalRequestRow, RunRow]],
    *,
    person: str = "",
    readers: Collection[str] = (),
    people: Mapping[str, Person] | None = None,
) -> list[Ballot]:
    """The ballots of requests with their runs, read together, for this person or these `readers`.

    `people` are everybody, for those who have read them.
    """
    rules = [_read_rule(json.dumps(request.rule, sort_keys=True)) for request, _ in pairs]
    decisions = await find_standing(session, [request.id for request, _ in pairs])
    givers = {row.person for rows in decisions.values() for row in rows} | {person, *readers}
    delegations, now = await find_delegations(session, sorted(givers))
    if people is None and any(stage.fallback for rule in rules for stage in rule.steps):
        people = {one.name: one for one in await find_all_people(session)}
    elif people is None:
        people = await find_people(session, sorted(givers | {one.person for one in delegations}))
    ballots = []
    for (request, run), rule in zip(pairs, rules, strict=True):
        matter, rows = matter_of(rulebook, run, at=now), decisions[request.id]
        needed = needs_passkey(rule, matter.command)
        one = Ballot(
            policy=rulebook.policy,
            rule=filled(rulebook.policy, rule, people.values(), matter),
            case=Case(run.asker, request.digest, request.opened_at, request.expires_at, matter.barred, matter.holder),
            matter=matter,
            people=people,
            decisions=rows,
            delegations=delegations,
            run_id=run.id,
            now=now,
            signatures=await read_signatures(session, Site.of(rulebook.address), request, rows, needed=needed),
        )
        ballots.append(one)
    return ballots


def filled(policy: Policy, rule: Approval, people: Iterable[Person], matter: Matter) -> Approval:
    """The rule with its fallbacks let in where nobody at all is in a set."""
    if not any(stage.fallback for stage in rule.steps):
        return rule
    known = list(people)

    def count(one: Voters) -> int:
        return len(voters(policy, known, rule, matter, sets=[one]))

    return replace(rule, stages=tuple(let_in(stage, count) for stage in rule.steps))


def let_in(stage: Stage, count: Callable[[Voters], int]) -> Stage:
    """The stage with its fallback in each set that has fewer people, as `count` counts them, than it needs."""
    if not stage.fallback:
        return stage
    return replace(stage, sets=tuple(one if count(one) >= one.count else replace(one, of=(*one.of, *stage.fallback)) for one in stage.sets))


@lru_cache(1_024)
def _read_rule(text: str) -> Approval:
    """The rule that is written so; many requests share one, and reading it takes longer than looking it up."""
    return Approval.of_json(json.loads(text))


def _selected(policy: Policy, person: Person, selector: str, matter: Matter) -> bool:
    kind, _, name = selector.partition(":")
    match kind:
        case "permission":
            return isinstance(held(policy, person, name, matter.command), Allowed)
        case "person":
            return person.name == name
        case "group":
            return name in policy.groups_of(person)
        case "role":
            return name in policy.roles_of(person)
        case "manager-of-requester":
            return bool(matter.manager) and person.name == matter.manager
        case "on-call":
            return person.name in policy.on_call(name, matter.at)
        case "owner-of":
            owners = policy.owners_of(name, matter.arguments.get(name))
            return any(not one.startswith("owner-of:") and _selected(policy, person, one, matter) for one in owners)
    return False


def _written_selector(selector: str) -> str:
    kind, _, name = selector.partition(":")
    return "the asker's manager" if kind == "manager-of-requester" else _WORDS[kind] + name
