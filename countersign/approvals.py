"""The approval rule as data: who must agree, in which order, until when; and how several rules become one."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, Literal

from .arguments import Duration
from .permissions import checked_permission
from .values import written

StepUp = Literal["", "login", "passkey"]
_STRENGTHS: Final[tuple[StepUp, ...]] = ("", "login", "passkey")
_SELECTOR = re.compile(
    r"permission:[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*\Z|(?:person|group|role|on-call|owner-of):[A-Za-z0-9][A-Za-z0-9._-]*\Z|manager-of-requester\Z"
)
_SELECTORS: Final = (
    "person:lin, group:sre, role:lead, permission:deploy:approve, on-call:payments, owner-of:service or manager-of-requester"
)


@dataclass(frozen=True)
class Voters:
    """One set of voters: anybody whom one of the selectors `of` names, `count` distinct people of them.

    Selectors read `person:lin`, `group:sre`, `role:lead`, `permission:deploy:approve`, `on-call:SCHEDULE`, `owner-of:ARGUMENT` or
    `manager-of-requester`. Each voter must hold the permissions `also` besides.
    """

    of: tuple[str, ...]
    count: int = 1
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in self.of:
            checked_selector(one)
        if not self.of:
            raise TypeError("Voters: of should name at least one selector; an empty list means nobody")
        if not 1 <= self.count <= 20:
            raise TypeError(f"Voters(of={list(self.of)}): count should be from 1 to 20")


@dataclass(frozen=True)
class Stage:
    """One step of an approval: `all` or `any` of its sets must agree before the next stage may vote.

    `skip_after` goes on without this stage when it has not agreed in time; `escalate_to` may vote too once `escalate_after` has passed;
    `fallback` may vote where nobody at all is in a set.
    """

    sets: tuple[Voters, ...]
    need: Literal["all", "any"] = "all"
    skip_after: str = ""
    escalate_after: str = ""
    escalate_to: tuple[str, ...] = ()
    fallback: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.sets:
            raise TypeError("Stage: sets should have at least one Voters")
        for one in (*self.escalate_to, *self.fallback):
            checked_selector(one)
        if bool(self.escalate_after) != bool(self.escalate_to):
            raise TypeError("Stage: escalate_after and escalate_to belong together")
        for name in ("skip_after", "escalate_after"):
            _checked_time(getattr(self, name), of=f"Stage: {name}")

    @property
    def least(self) -> int:
        """The fewest distinct people with whom the stage can agree."""
        counts = [one.count for one in self.sets]
        return sum(counts) if self.need == "all" else min(counts)

    @property
    def skips(self) -> timedelta | None:
        return Duration.parse(self.skip_after) if self.skip_after else None

    @property
    def escalates(self) -> timedelta | None:
        return Duration.parse(self.escalate_after) if self.escalate_after else None


@dataclass(frozen=True)
class Approval:
    """Who must agree before a plan may run: `count` distinct people who hold the permission `by`, or `stages` in order.

    `when` limits the rule to invocations whose arguments equal the given values (a list means any of them).
    `asker_may` and `editor_may` let the asker's vote, or that of whoever edited the arguments last, count; the card then says so.
    `expires` is how long people may decide, `valid` how long an approval may wait to be executed. `deny` people must deny to end it.
    `reason` is a pattern, or several, that the asker's reason must contain; `voter_reason` wants one from each voter.
    `step_up` wants the decision made in the browser after a fresh login, or signed with a passkey. `remind` repeats the question.
    `also` names further permissions that a voter must hold, where several rules were merged into one.
    """

    by: str = ""
    count: int = 1
    when: Mapping[str, Any] | None = None
    expires: str = "24h"
    asker_may: bool = False
    also: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    deny: int = 1
    valid: str = "24h"
    editor_may: bool = False
    reason: str | tuple[str, ...] = ()
    voter_reason: bool = False
    step_up: StepUp = ""
    remind: str = ""

    def __post_init__(self) -> None:
        told = f"Approval(by={self.by!r})" if self.by else "Approval"
        if bool(self.by) == bool(self.stages):
            raise TypeError(f"{told}: give either by=PERMISSION or stages=(…)")
        if self.by:
            checked_permission(self.by, of="Approval")
        if self.count < 1:
            raise TypeError(f"{told}: count should be at least 1, or leave the approval out")
        if self.deny < 1:
            raise TypeError(f"{told}: deny should be at least 1")
        if self.stages and all(one.skip_after for one in self.stages):
            raise TypeError(f"{told}: a stage without skip_after is needed, or nobody would have to agree")
        if self.step_up not in _STRENGTHS:
            raise TypeError(f"{told}: step_up should be 'login' or 'passkey'")
        for name in ("expires", "valid", "remind"):
            _checked_time(getattr(self, name), of=f"{told}: {name}", needed=name != "remind")
        for pattern in self.reasons:
            _checked_pattern(pattern, of=told)

    @property
    def steps(self) -> tuple[Stage, ...]:
        """The stages, of which the short form `by` and `count` is one."""
        return self.stages or (Stage((Voters((f"permission:{self.by}",), self.count, self.also),)),)

    @property
    def least(self) -> int:
        """The fewest distinct people with whom it can be approved."""
        return sum(one.least for one in self.steps if not one.skip_after)

    @property
    def reasons(self) -> tuple[str, ...]:
        return (self.reason,) if isinstance(self.reason, str) and self.reason else tuple(self.reason)

    def applies_to(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the rule concerns these canonical arguments."""
        return all(matches(arguments.get(name), wanted) for name, wanted in (self.when or {}).items())

    def as_json(self) -> dict[str, Any]:
        """What is frozen into a request: everything but `when`, and of the rest what is not the default."""
        kept = {"by": self.by, "count": self.count, "expires": self.expires, "asker_may": self.asker_may, "also": list(self.also)}
        later = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in kept and one.name not in ("when", "stages")}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in later.items() if value != _DEFAULTS[name]}
        return kept | plain | ({"stages": [_stage_as_json(one) for one in self.stages]} if self.stages else {})

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> "Approval":
        """The rule that `as_json` wrote; raises TypeError for what is not one."""
        lists = {name: tuple(data[name]) for name in ("also", "reason") if isinstance(data.get(name), list)}
        return cls(**{**data, **lists, "stages": tuple(_stage_of_json(one) for one in data.get("stages", ()))})


_DEFAULTS: Final = {one.name: one.default for one in fields(Approval)}


def checked_selector(text: str) -> str:
    """The selector itself; raises TypeError when it is not one."""
    if not _SELECTOR.match(text):
        raise TypeError(f"{text!r} should name voters as in {_SELECTORS}")
    return text


def merged(found: Sequence[Approval], *, general: str = "") -> Approval:
    """One rule that asks for all that each of these asks: the strictest of every clock and quorum, and all stages, one after the other.

    Short forms become one: most people first, and the permissions of the others stay as further conditions. `general` is the permission
    that stands for "anybody who may approve at all": it asks for nobody in particular, so it is met by other voters.
    """
    short = [one for one in found if one.by]
    stages = list(dict.fromkeys(stage for one in found for stage in one.stages))
    first = _shortest_form(short, general) if short else None
    met = first and first.by == general and not first.also and sum(one.least for one in stages if not one.skip_after) >= first.count
    if first and stages and not met:
        stages.insert(0, first.steps[0])
    base = first if first and not stages else Approval(stages=tuple(stages))
    reminders = [_length(one.remind) for one in found if one.remind]
    return replace(
        base,
        expires=str(min(_length(one.expires) for one in found)),
        valid=min((one.valid for one in found), key=_length),
        deny=min(one.deny for one in found),
        asker_may=all(one.asker_may for one in found),
        editor_may=all(one.editor_may for one in found),
        reason=tuple(dict.fromkeys(pattern for one in found for pattern in one.reasons)),
        voter_reason=any(one.voter_reason for one in found),
        step_up=strongest(one.step_up for one in found),
        remind=str(min(reminders)) if reminders else "",
    )


def strongest(found: Iterable[StepUp]) -> StepUp:
    """The step-up that includes all of these."""
    return max(found, key=_STRENGTHS.index, default="")


def matches(value: Any, wanted: Any) -> bool:
    """Equality, or membership when a list is wanted; both sides are compared as a person would type them.

    An argument that is itself a list matches when any of its values does, so that a rule on production also concerns `staging, prod`.
    """
    if isinstance(value, list | tuple):
        return any(matches(one, wanted) for one in value)
    wanted_values = wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]
    return _as_typed(value) in map(_as_typed, wanted_values)


def _shortest_form(short: Iterable[Approval], general: str) -> Approval:
    first = max(short, key=lambda one: one.count)
    also = {permission for one in short for permission in (one.by, *one.also)} - {first.by, general}
    return Approval(by=first.by, count=first.count, also=tuple(sorted(also)))


@lru_cache(maxsize=256)
def _length(text: str) -> Duration:
    """The lengths that rules are written with are few."""
    return Duration.parse(text)


def _stage_as_json(stage: Stage) -> dict[str, Any]:
    sets = [{"of": list(one.of), "count": one.count, "also": list(one.also)} for one in stage.sets]
    clocks = {name: getattr(stage, name) for name in ("skip_after", "escalate_after") if getattr(stage, name)}
    more = {name: list(getattr(stage, name)) for name in ("escalate_to", "fallback") if getattr(stage, name)}
    return {"sets": sets, "need": stage.need, **clocks, **more}


def _stage_of_json(data: Mapping[str, Any]) -> Stage:
    sets = tuple(Voters(tuple(one["of"]), one.get("count", 1), tuple(one.get("also", ()))) for one in data["sets"])
    more = {name: tuple(data[name]) for name in ("escalate_to", "fallback") if name in data}
    return Stage(**{**data, **more, "sets": sets})


@lru_cache(maxsize=1_000)
def _checked_time(text: str, *, of: str, needed: bool = False) -> None:
    if not text and not needed:
        return
    try:
        time = Duration.parse(text)
    except ValueError as error:
        raise TypeError(f"{of} {error}") from None
    if not time:
        raise TypeError(f"{of} should leave people some time, for instance '24h'")


def _checked_pattern(pattern: str, *, of: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise TypeError(f"{of}: reason {pattern!r} is not a pattern: {error}") from None


def _as_typed(value: Any) -> str:
    """As text; a whole number has no fraction, because a stored argument has lost it."""
    return written(int(value)) if type(value) is float and value.is_integer() else written(value)
