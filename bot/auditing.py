"""Reading the record, for those who hold countersign:audit. Whoever reads it is in it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from commands.authorizing import Allowed, Refused, Request, authorize
from commands.policies import AUDIT
from commands.rulebooks import Rulebook
from countersign.invocations import Door, Place
from store.audits import AuditEvent, AuditRow, Cursor, Sought, record, search
from store.databases import WriteSession
from store.people import Person

from .hubs import Hub

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def may_read(rulebook: Rulebook, person: Person, *, door: Door) -> Allowed | Refused:
    """Whether this person may read the record through this door."""
    return authorize(rulebook.policy, person, Request(permission=AUDIT, door=door, place=Place(_PLACES.get(door, door.value))))


async def read_record(
    hub: Hub, person: Person, sought: Sought, *, door: Door, trace: str, before: Cursor | None = None, limit: int = 50
) -> list[AuditRow] | Refused:
    """Events, newest first; the first page of each search is recorded, and so is a refusal."""
    answer = may_read(await hub.rulebook(), person, door=door)

    async def find(session: WriteSession) -> list[AuditRow]:
        if isinstance(answer, Refused):
            await record(session, [read_event(person, "request:refused", door=door, trace=trace, reason=answer.reason)])
            return []
        rows = await search(session, sought, before=before, limit=limit)
        if before is None:
            await record(session, [read_event(person, "audit:read", door=door, trace=trace, **_searched(sought))])
        return rows

    rows = await hub.committed(find)
    return answer if isinstance(answer, Refused) else rows


def read_event(person: Person, kind: str, *, door: Door, trace: str, **detail: Any) -> AuditEvent:
    """That somebody read the record, or was refused."""
    return AuditEvent(kind, person.name, None, {"door": door.value, "trace": trace, "command": "audit", **detail})


def microseconds(moment: datetime) -> int:
    """As the record counts time."""
    return (moment - _EPOCH) // _MICROSECOND


def _searched(sought: Sought) -> Mapping[str, str]:
    given = {"by_words": sought.words, "by_kind": sought.kind, "by_actor": sought.actor, "by_run": str(sought.run or "")}
    days = {name: us and (_EPOCH + us * _MICROSECOND).isoformat() for name, us in (("from", sought.since_us), ("to", sought.until_us))}
    return {name: value for name, value in (given | days).items() if value}


_PLACES: Final = {Door.browser: "console"}
