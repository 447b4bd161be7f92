"""What a schedule may say, checked when it is written, and how schedules are shown: each line says what is due next."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any, Final

from countersign.arguments import Duration
from countersign.calendars import zone_of
from countersign.commands import Command
from countersign.errors import BadArgument, PlanRefused
from countersign.invocations import Door, Place
from countersign.moments import shown
from store.people import Person
from store.schedules import ScheduleRow, Slot

from .authorizing import Refused, Request, authorize, is_admin
from .cadences import Cadence, filled, read_cadence
from .parsing import NotUnderstood, find_command, read_arguments, split
from .rulebooks import Rulebook
from .scheduling import asked, cadence_of

NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
MOST_FAILURES: Final = 100
LONGEST_CATCH_UP: Final = timedelta(days=366)


@dataclass(frozen=True)
class Asked:
    """What a schedule asks for: the command, and its arguments as text."""

    command: Command
    arguments: Mapping[str, str]


def read_asked(rulebook: Rulebook, text: str) -> Asked:
    """Raises PlanRefused for what no schedule can ask."""
    try:
        found, words = find_command(split(text), rulebook.registry.commands)
        if found is None or found.kind == "control":
            raise PlanRefused(f"what: there is no command {text.split()[0][:40] if text.split() else ''!r} that can be scheduled.")
        call = read_arguments(found, words)
    except NotUnderstood as error:
        raise PlanRefused(f"what: {error}") from None
    if call.at or call.dry_run or call.help:
        raise PlanRefused("what: takes the command and its arguments alone, without --at, --dry-run or --help.")
    if secret := sorted(found.schema.secrets):
        raise PlanRefused(f"what: {found.name} takes a secret ({secret[0]}), which a schedule does not keep; people ask for it.")
    return Asked(found, dict(call.arguments))


def check_terms(rulebook: Rulebook, terms: Mapping[str, Any], *, now: datetime, account: Person | None, author: Person) -> Cadence:
    """Whether it could work as it is written, now: for the account it runs as, and for whoever writes it. Raises PlanRefused.

    Nobody schedules what they may not ask for themselves: the account's rights are lent to its work, not to its author.
    """
    try:
        cadence = read_cadence(terms["cadence"], _zone(terms["zone"]), now.replace(second=0, microsecond=0))
        command = rulebook.registry.commands[terms["command"]]
        first = cadence.coming(now, count=1)[0]
        values = command.schema.validate(filled(terms["arguments"], first, cadence.zone))
    except BadArgument as error:
        where = "what: " if error.argument not in ("when", "zone") else ""
        raise PlanRefused(f"{where}{error}.") from None
    if account is None or not account.service or not account.active:
        raise PlanRefused(f"account: policy names no active service account {terms['account'][:40]!r} (service_accounts).")
    request = Request(
        command.permission,
        Door.schedule,
        Place("schedule", channel=terms["channel"]),
        command,
        command.schema.written(values),
        reason=terms["reason"] or "scheduled",
        now=now,
    )
    for person in (account, author):
        if isinstance(answer := authorize(rulebook.policy, person, request), Refused):
            raise PlanRefused(f"{person.name} may not ask for {asked_for(terms)}: {answer.sentence}")
    return cadence


def check_numbers(name: str, catch_up: Duration, pause_after: int) -> None:
    """Raises PlanRefused."""
    if not NAME.fullmatch(name):
        raise PlanRefused(f"name: {name[:50]!r} should be small letters, digits and hyphens, at most 40, for instance nightly-backup.")
    if not timedelta(minutes=1) <= catch_up <= LONGEST_CATCH_UP:
        raise PlanRefused("catch_up: should be from 1m to 366d: how late a slot may still be made up for.")
    if not 0 <= pause_after <= MOST_FAILURES:
        raise PlanRefused(f"pause_after: should be from 0 (never) to {MOST_FAILURES} bad ends in a row.")


def asked_for(terms: Mapping[str, Any]) -> str:
    """The command with its arguments as one would type them."""
    return " ".join([terms["command"], *(f"{name}={value}" for name, value in terms["arguments"].items())])


def preview(cadence: Cadence, after: datetime, *, count: int = 10) -> str:
    """The next slots, one a line, by the schedule's own clocks."""
    return "\n".join(shown(one, cadence.zone) for one in cadence.coming(after, count=count))


def reads(rulebook: Rulebook, person: Person, row: ScheduleRow) -> bool:
    """Whether this person may read what it asks for: what is private is its owner's and an admin's."""
    command = rulebook.registry.find(row.command)
    return command is None or command.visibility == "staff" or person.name == row.owner or is_admin(rulebook.policy, person)


def told(rulebook: Rulebook, person: Person, row: ScheduleRow) -> str:
    """What it asks for, as far as this person may read it."""
    return asked(row) if reads(rulebook, person, row) else f"{row.command} …"


def state_of(row: ScheduleRow) -> str:
    """When it is due, or why it is not."""
    if row.paused_at is not None:
        because = f": {row.paused_because}" if row.paused_because else ""
        return f"paused by {row.paused_by}{because}"
    return f"next {shown(row.next_at, zone_of(row.zone))}" if row.next_at else "never due again"


def line_of(row: ScheduleRow, what: str) -> str:
    failing = f", {row.failures} bad in a row" if row.failures else ""
    return f"{row.name:<24}{row.cadence:<20}{what[:44]:<46}{state_of(row)}{failing}"


def slot_line(one: Slot, zone: Any) -> str:
    """What became of a slot."""
    kind = "" if one.kind == "due" else f" ({one.kind} by {one.asked_by})"
    run = f" #{one.number} {one.status.replace('_', ' ')}" if one.number and one.status else ""
    because = f": {one.because}" if one.because else ""
    return f"{shown(one.slot, zone)}  {one.state}{run}{kind}{because}"[:150]


def coming(rows: Sequence[ScheduleRow], *, limit: int) -> list[tuple[datetime, ScheduleRow]]:
    """The slots that will be due next, of all the schedules that are not paused, in order."""
    each = [[(at, row) for at in _next(row, limit)] for row in rows if row.paused_at is None and row.next_at]
    return list(islice(merge(*each, key=lambda one: one[0]), limit))


def _next(row: ScheduleRow, limit: int) -> list[datetime]:
    assert row.next_at is not None  # noqa: S101  chosen by it
    try:
        return cadence_of(row).coming(row.next_at - timedelta(microseconds=1), count=limit)
    except (BadArgument, ValueError):
        return []


def _zone(name: str) -> Any:
    try:
        return zone_of(name)
    except ValueError as error:
        raise BadArgument("zone", str(error)) from None
