"""The approval rule applied: pure functions that say whether these decisions approve exactly this digest."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import product

from .approvals import Approval, Stage, Voters


class Verdict(StrEnum):
    approve = "approve"
    deny = "deny"


class Outcome(StrEnum):
    waiting = "waiting"
    approved = "approved"
    denied = "denied"
    expired = "expired"


@dataclass(frozen=True)
class Decision:
    """What one person said about one digest, at which stage; `authority` is for whom they said it, if not for themselves."""

    person: str
    verdict: Verdict
    digest: str
    at: datetime
    stage: int = 0
    authority: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The person who clicked and the one for whom: neither may be counted twice."""
        return frozenset({self.person, self.authority} - {""})


@dataclass(frozen=True)
class Need:
    """A set of voters that has not agreed yet, and how many distinct people it still misses."""

    voters: Voters
    missing: int


@dataclass(frozen=True)
class Tally:
    """The rule's answer: the outcome, whose approvals count, how many people are missing, and what the stage that votes now needs.

    `started` is when that stage began to vote; `skipped` are the stages that were passed over because their time had run out.
    """

    outcome: Outcome
    approvers: tuple[str, ...]
    missing: int
    stage: int = 0
    needs: tuple[Need, ...] = ()
    started: datetime | None = None
    skipped: tuple[int, ...] = ()


Belongs = Callable[[str, Voters], bool]
"""Whether a person, by name, is in a set of voters now. Asked at the click and again at execution."""


@dataclass(frozen=True)
class Case:
    """What is decided about: the digest, who asked and so never votes, and the two ends of the time to decide.

    `barred` are further people who never vote, unless the rule lets editors: whoever edited the arguments last. `holder` is to whom the
    asker handed the request over; they stand on the asker's side and never vote either.
    """

    asker: str
    digest: str
    opened_at: datetime
    expires_at: datetime
    barred: frozenset[str] = field(default_factory=frozenset)
    holder: str = ""

    def out(self, rule: Approval) -> frozenset[str]:
        """Everybody whose approval never counts under the rule."""
        barred = frozenset[str]() if rule.editor_may else self.barred
        barred = barred - {self.asker} if rule.asker_may else barred | {self.asker}
        return barred | {self.holder} if self.holder else barred


def evaluate(rule: Approval, case: Case, decisions: Iterable[Decision], *, now: datetime, belongs: Belongs) -> Tally:
    """Whether these decisions approve exactly `case.digest` under `rule` at `now`. Pure: no clock, no I/O.

    Only decisions on the same digest made before the request expires count, one per person, the first of each; at the same instant
    a denial goes before an approval. The asker's own denial, a withdrawal, ends it; so do the denials of `rule.deny` people. What is
    reached first stands.
    """
    counted = _counted(case, decisions)
    denials: list[Decision] = []
    approvals: list[Decision] = []
    for one in counted:
        if one.verdict is Verdict.deny:
            denials.append(one)
            if one.person == case.asker or len(denials) >= rule.deny:
                return replace(_progress(rule, case, approvals, now=one.at, belongs=belongs), outcome=Outcome.denied)
        elif not one.names & case.out(rule):
            approvals.append(one)
            reached = _progress(rule, case, approvals, now=one.at, belongs=belongs)
            if reached.outcome is Outcome.approved:
                return reached
    tally = _progress(rule, case, approvals, now=min(now, case.expires_at), belongs=belongs)
    late = now >= case.expires_at and tally.outcome is Outcome.waiting
    return replace(tally, outcome=Outcome.expired) if late else tally


def satisfied(rule: Approval, case: Case, decisions: Iterable[Decision], *, belongs: Belongs) -> bool:
    """Whether these approvals are enough for another rule than the one they were given under, whatever their order and stage.

    Asked at execution, when policy has changed since: what it wants now must be met too. Stages that may be skipped are not wanted.
    """
    approvals = [one for one in _counted(case, decisions) if one.verdict is Verdict.approve and not one.names & case.out(rule)]
    wanted = [[stage.sets] if stage.need == "all" else [(one,) for one in stage.sets] for stage in rule.steps if not stage.skip_after]
    return any(_assigned([one for sets in choice for one in sets], approvals, belongs).complete for choice in product(*wanted))


def open_sets(stage: Stage, *, started: datetime, now: datetime) -> tuple[Voters, ...]:
    """The sets as they may vote now: once the stage has escalated, those whom it escalates to may vote in each."""
    if stage.escalates is None or now < started + stage.escalates:
        return stage.sets
    return tuple(Voters((*one.of, *stage.escalate_to), one.count, one.also) for one in stage.sets)


def _counted(case: Case, decisions: Iterable[Decision]) -> list[Decision]:
    seen: set[str] = set()
    counted = []
    for one in sorted(decisions, key=lambda one: (one.at, one.verdict is Verdict.approve, one.person)):
        if one.digest == case.digest and one.at < case.expires_at and not one.names & seen:
            seen |= one.names
            counted.append(one)
    return counted


def _progress(rule: Approval, case: Case, approvals: Sequence[Decision], *, now: datetime, belongs: Belongs) -> Tally:
    """Goes through the stages in order until one has neither agreed nor been skipped."""
    started = case.opened_at
    agreed: list[Decision] = []
    skipped: list[int] = []
    for position, stage in enumerate(rule.steps):
        mine = [one for one in approvals if one.stage == position]
        found = _stage_assigned(stage, mine, started=started, now=now, belongs=belongs)
        if found.complete:
            agreed += found.used
            started = max([started, *(one.at for one in found.used)])
        elif stage.skips is not None and now >= started + stage.skips:
            skipped.append(position)
            started += stage.skips
        else:
            later = sum(one.least for one in rule.steps[position + 1 :] if not one.skip_after)
            names = tuple(one.person for one in [*agreed, *found.used])
            return Tally(Outcome.waiting, names, found.missing + later, position, found.needs, started, tuple(skipped))
    return Tally(Outcome.approved, tuple(one.person for one in agreed), 0, len(rule.steps), (), started, tuple(skipped))


@dataclass(frozen=True)
class _Found:
    used: list[Decision]
    needs: tuple[Need, ...]
    missing: int

    @property
    def complete(self) -> bool:
        return not self.missing


def _stage_assigned(stage: Stage, mine: Sequence[Decision], *, started: datetime, now: datetime, belongs: Belongs) -> _Found:
    sets = open_sets(stage, started=started, now=now)
    if stage.need == "all":
        return _assigned(sets, mine, belongs)
    each = [_assigned([one], mine, belongs) for one in sets]
    best = min(each, key=lambda one: one.missing)
    return _Found(best.used, tuple(need for one in each for need in one.needs), best.missing)


def _assigned(sets: Sequence[Voters], approvals: Sequence[Decision], belongs: Belongs) -> _Found:
    """As many places of the sets filled as can be, one person in one place: a maximum matching, by augmenting paths.

    Whoever is in two sets is counted where nobody else can be.
    """
    places = [number for number, one in enumerate(sets) for _ in range(one.count)]
    may = [[belongs(one.authority or one.person, voters) for voters in sets] for one in approvals]
    holder: dict[int, int] = {}

    def seat(voter: int, tried: set[int]) -> bool:
        for place, number in enumerate(places):
            if may[voter][number] and place not in tried:
                tried.add(place)
                if place not in holder or seat(holder[place], tried):
                    holder[place] = voter
                    return True
        return False

    for voter in range(len(approvals)):
        seat(voter, set())
    empty = [places[place] for place in range(len(places)) if place not in holder]
    needs = tuple(Need(one, empty.count(number)) for number, one in enumerate(sets) if number in empty)
    return _Found([approvals[voter] for voter in sorted(holder.values())], needs, len(empty))
