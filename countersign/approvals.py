"""The approval rule: who must agree, and the pure function that says whether they have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from .arguments import Duration
from .permissions import checked_permission
from .values import written


class Verdict(StrEnum):
    approve = "approve"
    deny = "deny"


class Outcome(StrEnum):
    waiting = "waiting"
    approved = "approved"
    denied = "denied"
    expired = "expired"


@dataclass(frozen=True)
class Approval:
    """Who must agree before a plan may run: `count` distinct people who hold the permission `by`.

    `when` limits the rule to invocations whose arguments equal the given values (a list means any of them).
    `asker_may` lets the asker's own vote count; the card then says so. `expires` is how long people may decide.
    `also` names further permissions that a voter must hold, where several rules were merged into one.
    """

    by: str
    count: int = 1
    when: Mapping[str, Any] | None = None
    expires: str = "24h"
    asker_may: bool = False
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_permission(self.by, of="Approval")
        if self.count < 1:
            raise TypeError(f"Approval(by={self.by!r}): count should be at least 1, or leave the approval out")
        try:
            expires = Duration.parse(self.expires)
        except ValueError as error:
            raise TypeError(f"Approval(by={self.by!r}): expires {error}") from None
        if not expires:
            raise TypeError(f"Approval(by={self.by!r}): expires should leave people some time, for instance '24h'")

    def applies_to(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the rule concerns these canonical arguments."""
        return all(matches(arguments.get(name), wanted) for name, wanted in (self.when or {}).items())

    def as_json(self) -> dict[str, Any]:
        return {"by": self.by, "count": self.count, "expires": self.expires, "asker_may": self.asker_may, "also": list(self.also)}


@dataclass(frozen=True)
class Decision:
    """What one person said about one digest."""

    person: str
    verdict: Verdict
    digest: str
    at: datetime


@dataclass(frozen=True)
class Tally:
    """The rule's answer: the outcome, whose approvals count, and how many are missing."""

    outcome: Outcome
    approvers: tuple[str, ...]
    missing: int


def matches(value: Any, wanted: Any) -> bool:
    """Equality, or membership when a list is wanted; both sides are compared as a person would type them.

    An argument that is itself a list matches when any of its values does, so that a rule on production also concerns `staging, prod`.
    """
    if isinstance(value, list | tuple):
        return any(matches(one, wanted) for one in value)
    wanted_values = wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    return _as_typed(value) in map(_as_typed, wanted_values)


def evaluate(rule: Approval, *, asker: str, digest: str, now: datetime, expires_at: datetime, decisions: Iterable[Decision]) -> Tally:
    """Whether these decisions approve exactly `digest` under `rule` at `now`. Pure: no clock, no I/O.

    Only decisions on the same digest made before `expires_at` count, one per person, the first of each; at the same instant
    a denial goes before an approval. A denial by anybody ends it, the asker's own (a withdrawal) too. The asker's own approval never counts
    unless the rule says `asker_may`.
    """
    approvers: list[str] = []
    denied = False
    seen: set[str] = set()
    for decision in sorted(decisions, key=lambda one: (one.at, one.verdict is Verdict.approve, one.person)):
        if decision.digest != digest or decision.at >= expires_at or decision.person in seen:
            continue
        seen.add(decision.person)
        if decision.verdict is Verdict.deny:
            denied = True
        elif decision.person != asker or rule.asker_may:
            approvers.append(decision.person)
        if denied or len(approvers) >= rule.count:
            break
    return _tally(rule, tuple(approvers), denied=denied, late=now >= expires_at)


def _as_typed(value: Any) -> str:
    """As text; a whole number has no fraction, because a stored argument has lost it."""
    return written(int(value)) if type(value) is float and value.is_integer() else written(value)


def _tally(rule: Approval, approvers: tuple[str, ...], *, denied: bool, late: bool) -> Tally:
    missing = max(0, rule.count - len(approvers))
    if denied:
        return Tally(Outcome.denied, approvers, missing)
    if not missing:
        return Tally(Outcome.approved, approvers, 0)
    return Tally(Outcome.expired if late else Outcome.waiting, approvers, missing)
