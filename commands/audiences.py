"""Whom a request waits for, as selectors: what is written down with it, so that it is found by those who may decide it now."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final
from uuid import UUID

from countersign.approvals import Approval, Stage, Voters
from countersign.canonical import digest_of
from countersign.tallies import Tally, open_sets
from store.people import Person
from store.runs import RunRow

from .policies import Policy
from .rulebooks import Rulebook
from .voting import Ballot, Matter, belongs, let_in

_MANAGER: Final = "manager-of-requester"
# The asker and two more may be barred from voting, so only with so many more than it needs is a set certainly full.
_BARRED: Final = 3


@dataclass(frozen=True)
class Audience:
    """The stages of a rule, of which the one at `stage` votes now, with what its selectors look at; many requests share one.

    `asker` is empty, and `arguments` leaves out, what no selector of the rule looks at.
    """

    command: str
    stages: tuple[Stage, ...]
    stage: int = 0
    asker: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> UUID:
        return UUID(digest_of(self.as_json())[:32])

    def as_json(self) -> dict[str, Any]:
        """What is written down."""
        stages = Approval(stages=self.stages).as_json()["stages"]
        return {"command": self.command, "stages": stages, "stage": self.stage, "asker": self.asker, "arguments": dict(self.arguments)}

    def matter(self, rulebook: Rulebook, *, at: datetime) -> Matter:
        """What its requests are about, as far as selectors look at it; nobody is their asker."""
        manager = rulebook.managers.get(self.asker, "")
        return Matter("", rulebook.registry.find(self.command), self.arguments, manager, at=at)

    def includes(self, rulebook: Rulebook, person: Person, *, at: datetime, people: Sequence[Person] = ()) -> bool:
        """Whether it waits for this person now, unless they are barred from the one request.

        `people` are everybody, for a stage that lets others in where too few are left.
        """
        matter = self.matter(rulebook, at=at)

        def surely(voters: Voters) -> int:
            return sum(not one.service and belongs(rulebook.policy, one, voters, matter) for one in people) - _BARRED

        stage = let_in(self.stages[self.stage], surely)
        return person.active and not person.service and any(belongs(rulebook.policy, person, one, matter) for one in stage.sets)


@lru_cache(4_096)
def audience_of(text: str) -> Audience | None:
    """The audience that was written down as this JSON; None for what is none of ours."""
    try:
        data = json.loads(text)
        return Audience(**{**data, "stages": Approval.of_json({"stages": data["stages"]}).stages})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def audience_for(policy: Policy, rule: Approval, run: RunRow) -> Audience:
    """Whom a request under this rule waits for when it is opened."""
    selectors = {one for stage in rule.steps for one in _selectors(stage)}
    owned = sorted(one.partition(":")[2] for one in selectors if one.startswith("owner-of:"))
    arguments = {name: run.arguments.get(name) for name in owned}
    owners = {one for name in owned for one in policy.owners_of(name, arguments[name])}
    return Audience(run.command, rule.steps, asker=run.asker if _MANAGER in selectors | owners else "", arguments=arguments)


def audience_at(ballot: Ballot, tally: Tally, rule: Approval, run: RunRow) -> Audience:
    """Whom it waits for as it stands, at the stage that votes now, with those included to whom that has escalated.

    `rule` is the frozen one, before anybody was let in because too few were left.
    """
    first = audience_for(ballot.policy, rule, run)
    now = rule.steps[tally.stage]
    sets = open_sets(now, started=tally.started or ballot.case.opened_at, now=ballot.now)
    return replace(first, stage=tally.stage, stages=(*rule.steps[: tally.stage], replace(now, sets=sets), *rule.steps[tally.stage + 1 :]))


def _selectors(stage: Stage) -> set[str]:
    return {one for voters in stage.sets for one in voters.of} | {*stage.escalate_to, *stage.fallback}
