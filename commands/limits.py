"""Limits of rules: which concern a request, and what is said when one is used up. The door asks early; the worker that plans decides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from countersign.arguments import Duration
from countersign.moments import shown
from store.databases import ReadSession, WriteSession
from store.limits import Limit, find_free, use
from store.people import Person

from .matching import Match
from .requests import Refused, Request
from .rules import LimitEntry


@dataclass(frozen=True)
class Counted:
    """A limit as it concerns one request: the rule it comes from, what it counts, and for whom it says so."""

    match: Match
    command: str
    person: Person
    limit: Limit

    def refusal(self, free: datetime) -> Refused:
        """What is said while it is used up; `free` is when it is not any more, shown by the person's own clock."""
        entry = self.match.rule.limit
        whose = f"by {self.person.name} " if entry and entry.by == "person" else ""
        times = "once" if self.limit.count == 1 else f"{self.limit.count} times"
        used = f"{self.command} was asked for {whose}{times} in the last {self.limit.per}"
        sentence = f"{used}, which is all that the rule {self.match.rule.name!r} allows. Ask again after {shown(free, self.person.zone)}."
        return Refused(self.match.told(sentence), f"limit:{self.match.rule.line}")


def limits_for(person: Person, request: Request, found: Iterable[Match]) -> tuple[Counted, ...]:
    """The limits among the rules that concern the request, each counted for its command and, where the rule says so, for the person."""
    name = request.command.name if request.command else request.permission
    return tuple(_counted(one, one.rule.limit, name, person) for one in found if one.rule.limit)


async def find_used_up(session: ReadSession, counted: Sequence[Counted]) -> Refused | None:
    """The first of them that has no room now; nothing is counted."""
    for one in counted:
        if free := await find_free(session, one.limit):
            return one.refusal(free)
    return None


async def count_run(session: WriteSession, counted: Sequence[Counted], run: UUID) -> Refused | None:
    """Counts the run against all of them, or against none where one has no room.

    In the order of their names, so that two transactions never wait for each other.
    """
    try:
        async with session.begin_nested():
            for one in sorted(counted, key=lambda each: (each.limit.rule, each.limit.subject)):
                if free := await use(session, one.limit, run):
                    raise _NoRoom(one.refusal(free))
    except _NoRoom as full:
        return full.refusal
    return None


class _NoRoom(Exception):
    """Takes back what was counted before."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


def _counted(match: Match, entry: LimitEntry, command: str, person: Person) -> Counted:
    subject = f"{command} {person.name}" if entry.by == "person" else command
    return Counted(match, command, person, Limit(match.rule.name, subject, entry.count, Duration.parse(entry.per)))
