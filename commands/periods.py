"""The sections `windows` and `freezes` of a policy: when something may begin, and when only a freeze's own approvers let it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from countersign.calendars import Freeze, Window, resolved, zone_of
from countersign.commands import Command
from countersign.moments import clock_time, instant, weekdays

from .rules import ApproveEntry, BoundRule, Part, Rule, bind_rule, listed

MENDER: Final = "policy apply"
"""The command that replaces a policy; what is wrong or too strict in the old one does not stand in its way unless it is named."""


class WindowEntry(Part):
    """From `from` to `to`, times of day by the clocks of `zone`, on `days` such as mon-fri; not on the dates `closed`."""

    days: str | tuple[str, ...] = "daily"
    begin: Annotated[str, Field(alias="from")]
    to: str
    zone: str
    closed: tuple[date, ...] = ()

    def window(self, name: str) -> Window:
        """Raises ValueError where it is none."""
        opens, closes = clock_time(self.begin), clock_time(self.to)
        if opens == closes and not (opens == time(0) and self.to.strip().startswith("24")):
            raise ValueError("from and to are the same time; a whole day is from 00:00 to 24:00")
        return Window(name, weekdays(",".join(listed(self.days))), opens, closes, zone_of(self.zone), frozenset(self.closed))

    @model_validator(mode="after")
    def _opens(self) -> Self:
        self.window("")
        return self


class FreezeEntry(Part):
    """From `from` to `to`, moments with their zone (or that of `zone`): what it concerns begins only if `approve` says so, or not at all.

    What it concerns is said as in a rule. `because` is shown to whoever is refused or asked.
    """

    begin: Annotated[Any, Field(alias="from")]
    to: Any
    zone: str = ""
    command: str | tuple[str, ...] | None = None
    risk: str | tuple[str, ...] | None = None
    when: Mapping[str, Any] = {}
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    test: Annotated[str, Field(alias="if")] = ""
    approve: ApproveEntry | None = None
    because: str = ""
    line: int = 0

    def freeze(self, name: str) -> Freeze:
        """Raises ValueError where it is none."""
        zone = zone_of(self.zone) if self.zone else None
        begins, ends = _instant(self.begin, zone), _instant(self.to, zone)
        if begins >= ends:
            raise ValueError("should end after it begins")
        return Freeze(name, begins, ends)

    def rule(self, name: str) -> Rule:
        """A rule that matches what the freeze concerns."""
        scope = {key: getattr(self, key) for key in ("command", "risk", "when", "people", "groups", "approve", "line")}
        return _FreezeRule.model_validate({"name": name, "if": self.test, "timezone": self.zone or "UTC", **scope})

    @model_validator(mode="after")
    def _holds(self) -> Self:
        self.freeze("")
        if self.command is None and self.risk is None:
            raise ValueError("should name a command or a risk, or it would stop everything")
        if self.approve and (not self.approve.count or self.approve.asker_may):
            raise ValueError("approve: somebody else than the asker has to agree; without approve nothing that it concerns begins")
        return self


class _FreezeRule(Rule):
    @property
    def place(self) -> str:
        return f"line {self.line}: freeze {self.name!r}"

    @property
    def outcomes(self) -> tuple[str, ...]:
        return ("freeze",)


@dataclass(frozen=True)
class BoundFreeze:
    """A freeze as it concerns one command."""

    freeze: Freeze
    entry: FreezeEntry
    bound: BoundRule


def bind_freezes(entries: Mapping[str, FreezeEntry], commands: Mapping[str, Command]) -> dict[str, tuple[BoundFreeze, ...]]:
    """The freezes of each command, by its name, as they stand in the file."""
    found: dict[str, tuple[BoundFreeze, ...]] = {}
    for name, entry in entries.items():
        freeze = entry.freeze(name)
        for command, bound in bind_rule(entry.rule(name), commands).items():
            if command != MENDER or MENDER in listed(entry.command):
                found[command] = (*found.get(command, ()), BoundFreeze(freeze, entry, bound))
    return found


def _instant(value: Any, zone: tzinfo | None) -> datetime:
    """YAML reads some moments itself: those with seconds."""
    if isinstance(value, datetime) and (value.tzinfo or zone):
        return value.astimezone(UTC) if value.tzinfo or zone is None else resolved(value, zone)
    return instant(str(value), zone)
