"""One rule of a policy, and what it means for one command: its values as arguments are written, so that equality can be trusted."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from countersign.approvals import Approval, Stage, Voters
from countersign.arguments import Duration
from countersign.calendars import name_of, zone_of
from countersign.commands import Command
from countersign.errors import BadArgument
from countersign.invocations import Door

from .expressions import Expression, ExpressionError, MissingName, compile_expression, contains

APPROVE: Final = "countersign:approve"
PERMISSION: Final = r"^[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*$"
LONGEST_LIMIT: Final = timedelta(days=30)
OUTCOMES: Final = ("allow", "deny", "approve", "require_reason", "step_up", "limit", "only", "window")
PATTERN: Final = r"^(?:[a-z][a-z0-9_-]*|\*):(?:[a-z][a-z0-9_-]*|\*)$"


def known_zone(name: str) -> str:
    """The name itself; raises ValueError when no time zone is called that."""
    return name_of(zone_of(name))


class Part(BaseModel):
    """A mapping of the policy file; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VotersEntry(Part):
    """One set of voters: whom the selectors `of` name, `count` of them."""

    of: str | tuple[str, ...]
    count: Annotated[int, Field(ge=1, le=20)] = 1


class StageEntry(Part):
    """A stage: one set (`of` and `count`), or several of which `all` or `any` must agree; with its clocks."""

    of: str | tuple[str, ...] = ()
    count: Annotated[int, Field(ge=1, le=20)] = 1
    all: tuple[VotersEntry, ...] = ()
    any: tuple[VotersEntry, ...] = ()
    skip_after: str = ""
    escalate_after: str = ""
    escalate_to: str | tuple[str, ...] = ()
    fallback: str | tuple[str, ...] = ()

    @property
    def stage(self) -> Stage:
        """Raises TypeError where it is not a stage."""
        given = [bool(one) for one in (self.of, self.all, self.any)]
        if sum(given) != 1:
            raise TypeError("a stage has either of, all or any")
        entries = self.all or self.any or (VotersEntry(of=self.of, count=self.count),)
        return Stage(
            sets=tuple(Voters(listed(one.of), one.count) for one in entries),
            need="any" if self.any else "all",
            skip_after=self.skip_after,
            escalate_after=self.escalate_after,
            escalate_to=listed(self.escalate_to),
            fallback=listed(self.fallback),
        )


class ApproveEntry(Part):
    """Who must approve: `count` people who hold `by`, or the `stages`; every other key is that of the approval rule."""

    by: Annotated[str, Field(pattern=PERMISSION)] = APPROVE
    count: Annotated[int, Field(ge=0, le=20)] = 1
    stages: tuple[StageEntry, ...] = ()
    expires: str = "24h"
    valid: str = "24h"
    deny: Annotated[int, Field(ge=1, le=20)] = 1
    asker_may: bool = False
    editor_may: bool = False
    reason: str | tuple[str, ...] = ()
    voter_reason: bool = False
    step_up: Literal["", "login", "passkey"] = ""
    remind: str = ""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.stages and {"by", "count"} & self.model_fields_set:
            raise ValueError("give either stages, or by and count")
        try:
            approval_of(self)
        except TypeError as error:
            raise ValueError(str(error).partition(": ")[2] if str(error).startswith("Approval") else str(error)) from None
        return self


class LimitEntry(Part):
    """At most `count` requests in any stretch of time as long as `per`, by one person or for the command as a whole."""

    count: Annotated[int, Field(ge=1, le=10_000)]
    per: str
    by: Literal["person", "command"] = "person"

    @field_validator("per")
    @classmethod
    def _some_time(cls, value: str) -> str:
        if not timedelta(minutes=1) <= Duration.parse(value) <= LONGEST_LIMIT:
            raise ValueError("should be from 1m to 30d")
        return value


class OnlyEntry(Part):
    """Where alone something may be asked."""

    doors: tuple[Door, ...] = ()
    channels: tuple[str, ...] = ()

    @field_validator("channels")
    @classmethod
    def _as_places_name_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one.removeprefix("#") for one in value)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not self.doors and not self.channels:
            raise ValueError("name doors or channels; an empty list means nowhere")
        return self


class ReasonEntry(Part):
    """What the asker's reason must contain: a pattern in RE2's syntax; `hint` says it in words."""

    pattern: Annotated[str, Field(min_length=1, max_length=200)]
    hint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"pattern": value} if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _is_one(cls, value: str) -> str:
        contains(value, "")
        return value


class Rule(Part):
    """Conditions, all of which must hold (a list means any of its values), and what follows from them."""

    replaces_author: ClassVar[bool] = False
    """Whether it stands instead of the approval that the command's author wants; no rule of the file can say so."""

    name: str
    command: str | tuple[str, ...] | None = None
    risk: str | tuple[str, ...] | None = None
    when: Mapping[str, Any] = {}
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    doors: tuple[Door, ...] = ()
    channels: tuple[str, ...] = ()
    test: Annotated[str, Field(alias="if")] = ""
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    allow: Literal[True] | None = None
    deny: str = ""
    approve: ApproveEntry | None = None
    require_reason: ReasonEntry | None = None
    step_up: Literal["", "login", "passkey"] = ""
    limit: LimitEntry | None = None
    only: OnlyEntry | None = None
    window: str = ""
    line: int = 0

    @field_validator("channels")
    @classmethod
    def _as_places_name_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(one.removeprefix("#") for one in value)

    @property
    def place(self) -> str:
        """Where the rule stands, for a sentence about it."""
        return f"line {self.line}: rule {self.name!r}"

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The keys that say what follows."""
        return tuple(name for name in OUTCOMES if getattr(self, name))

    @property
    def gives(self) -> bool:
        """Whether it may let through what would not be without it; then it needs every condition to be certain."""
        return bool(self.allow) or bool(self.approve and not self.approve.count)


@dataclass(frozen=True)
class BoundRule:
    """A rule as it concerns one command. `broken` says why it cannot be read for it, which refuses the command to everybody.

    `test` is its expression, for this command's arguments.
    """

    rule: Rule
    when: Mapping[str, Sequence[Any]]
    broken: str = ""
    test: Expression | None = None


def bind_rule(rule: Rule, commands: Mapping[str, Command]) -> dict[str, BoundRule]:
    """The rule for each command it concerns, by name.

    A rule that names its commands concerns all of them, so each must have every argument it looks at. A rule that names only a risk
    concerns the commands that have those arguments. A value that no command can have breaks the rule for all of them: left out, it would
    silently concern nobody.
    """
    targets = targets_of(rule, commands)
    nowhere = next(filter(None, (_impossible(key, value, targets) for key, value in rule.when.items())), "") or _untestable(rule, targets)
    bound = {}
    for command in targets:
        if (one := _bound(rule, command, nowhere)) is not None:
            bound[command.name] = one
    return bound


def targets_of(rule: Rule, commands: Mapping[str, Command]) -> list[Command]:
    """The commands that the rule names, by name or by risk."""
    return [
        one
        for name, one in commands.items()
        if (rule.command is None or name in listed(rule.command)) and (rule.risk is None or one.risk.name in listed(rule.risk))
    ]


@lru_cache(maxsize=1_000)
def approval_of(entry: ApproveEntry) -> Approval | None:
    """The rule's approval; None when its count is 0, which loosens what an author allowed to be loosened."""
    if not entry.count:
        return None
    given = {name: getattr(entry, name) for name in ApproveEntry.model_fields if name not in ("by", "count", "stages")}
    if entry.stages:
        return Approval(stages=tuple(one.stage for one in entry.stages), **given)
    return Approval(by=entry.by, count=entry.count, **given)


def listed(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value


def _bound(rule: Rule, command: Command, nowhere: str) -> BoundRule | None:
    missing = next((key for key in rule.when if not _has(command, key)), None)
    if missing is not None and rule.command is not None:
        return BoundRule(rule, {}, f"looks at the argument {missing!r}, which {command.name} does not have")
    if nowhere:
        return BoundRule(rule, {}, nowhere)
    if missing is not None:
        return None
    when: dict[str, Sequence[Any]] = {}
    for key, value in rule.when.items():
        possible, problems = _written(command, key, value)
        if not possible:
            return BoundRule(rule, {}, f"can never match {command.name}: {key}: {problems[0]}")
        when[key] = possible
    try:
        return BoundRule(rule, when, test=_compiled(rule, command) if rule.test else None)
    except MissingName as error:
        return BoundRule(rule, {}, f"if: {error}") if rule.command is not None else None
    except ExpressionError as error:
        return BoundRule(rule, {}, f"if: {error}")


def _compiled(rule: Rule, command: Command) -> Expression:
    return compile_expression(rule.test, command, zone=zone_of(rule.timezone))


def _untestable(rule: Rule, targets: Sequence[Command]) -> str:
    """Why none of the commands has what the expression looks at, if so; a rule about a risk concerns those that have it."""
    if not rule.test or rule.command is not None:
        return ""
    problem = ""
    for command in targets:
        try:
            _compiled(rule, command)
        except MissingName as error:
            problem = problem or f"if: {error}"
        except ExpressionError:
            return ""
        else:
            return ""
    return problem


def _impossible(key: str, value: Any, targets: Sequence[Command]) -> str:
    """Why a value that is looked for can be had by none of the commands, if so."""
    having = [one for one in targets if _has(one, key)]
    if not having:
        return f"looks at the argument {key!r}, which {' and '.join(one.name for one in targets[:3])} does not have" if targets else ""
    for one in _values(value):
        problems = [problem for command in having for problem in _written(command, key, [one])[1]]
        if len(problems) == len(having):
            return f"looks for {key}={one}: {problems[0]}"
    return "" if _values(value) else f"looks for no value of {key}, so it would never match"


def _written(command: Command, key: str, value: Any) -> tuple[list[Any], list[str]]:
    """The values as the command's arguments are written, and what is wrong with the others."""
    possible: list[Any] = []
    problems: list[str] = []
    for one in _values(value):
        try:
            possible.append(_wanted(command, key, one) if isinstance(one, Hashable) else command.schema.wanted(key, one))
        except BadArgument as error:
            problems.append(error.problem)
    return possible, problems


@lru_cache(maxsize=2_000, typed=True)
def _wanted(command: Command, key: str, value: Hashable) -> Any:
    """Looked up often: a policy is bound again when it changes a little, and a rule may concern many commands."""
    return command.schema.wanted(key, value)


def _values(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _has(command: Command, key: str) -> bool:
    return any(one.name == key for one in command.schema.parameters)
