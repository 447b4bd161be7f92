"""What the rules mean, written from their documentation alone: a brute-force check that shares no code with the product.

It is told who said what (from the audit), who everybody is now (from the model), and whether the rule is met by different people.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import permutations


@dataclass(frozen=True)
class Wanted:
    """One set of a stage: anybody in one of the groups, `count` of them."""

    groups: tuple[str, ...]
    count: int = 1


@dataclass(frozen=True)
class RuleModel:
    """Stages in order; in each, all of its sets or any of them; and how many have to deny."""

    stages: tuple[tuple[Wanted, ...], ...]
    any_of: bool = False
    deny: int = 1


@dataclass
class Someone:
    """A person as the model has made them."""

    active: bool = True
    groups: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Said:
    """An approval or denial: by whom, in whose place, at which stage."""

    person: str
    instead_of: str
    stage: int
    at: datetime


@dataclass(frozen=True)
class StandIn:
    person: str
    delegate: str
    start: datetime
    end: datetime


def agreed(
    rule: RuleModel,
    approvals: Sequence[Said],
    people: Mapping[str, Someone],
    stand_ins: Sequence[StandIn],
    *,
    never: set[str],
    ordered: bool,
) -> bool:
    """Whether different people fill every place of the rule; `never` are those whose approval never counts, for themselves or others.

    `ordered` asks each stage's own votes; otherwise any vote may serve at any stage, as for an approval given under another request.
    """
    usable = [one for one in approvals if _usable(one, people, stand_ins, never)]
    return any(_fills(rule, choice, people, ordered=ordered) for choice in _choices(usable))


def _usable(one: Said, people: Mapping[str, Someone], stand_ins: Sequence[StandIn], never: set[str]) -> bool:
    if not people[one.person].active or one.person in never:
        return False
    if not one.instead_of:
        return True
    covered = any(each.person == one.instead_of and each.delegate == one.person and each.start <= one.at < each.end for each in stand_ins)
    return covered and people[one.instead_of].active and one.instead_of not in never


def _choices(usable: Sequence[Said]) -> list[list[Said]]:
    """Every largest way to take votes such that no person is in two of them, neither as giver nor as the one stood in for."""
    found: list[list[Said]] = []
    for order in permutations(usable):
        taken: list[Said] = []
        seen: set[str] = set()
        for one in order:
            names = {one.person, one.instead_of} - {""}
            if not names & seen:
                taken.append(one)
                seen |= names
        if set(taken) not in [set(each) for each in found]:
            found.append(taken)
    return found


def _fills(rule: RuleModel, votes: Sequence[Said], people: Mapping[str, Someone], *, ordered: bool, position: int = 0) -> bool:
    if position == len(rule.stages):
        return True
    mine = [one for one in votes if one.stage == position] if ordered else votes
    return any(
        _fills(rule, [one for one in votes if one not in used], people, ordered=ordered, position=position + 1)
        for used in _ways(rule, rule.stages[position], mine, people)
    )


def _ways(rule: RuleModel, sets: Sequence[Wanted], votes: Sequence[Said], people: Mapping[str, Someone]) -> Iterator[tuple[Said, ...]]:
    """Every way in which these votes fill the places of a stage."""
    for wanted in [[one] for one in sets] if rule.any_of else [list(sets)]:
        places = [groups for one in wanted for groups in [one.groups] * one.count]
        for choice in permutations(votes, len(places)):
            if all(people[vote.instead_of or vote.person].groups & set(groups) for vote, groups in zip(choice, places, strict=True)):
                yield choice
