"""Lists of runs as people look for them: by what was asked, by whom, where, when, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb
from sqlalchemy import text

from countersign.runs import RunStatus

from .databases import ReadSession
from .runs import RunRow, find_runs


@dataclass(frozen=True)
class Wanted:
    """What a run in the list is like; what is empty does not matter. `arguments` are values as they are written, all of them.

    `askers` are names, any of which will do; `since` and `until` bound when it was asked.
    """

    command: str = ""
    askers: Sequence[str] | None = None
    door: str = ""
    statuses: Sequence[RunStatus] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    until: datetime | None = None
    badge: str = ""


_CONDITIONS: Final = {
    "command": "command = :command",
    "askers": "asker = ANY(:askers)",
    "door": "door = :door",
    "statuses": "status = ANY(:statuses)",
    "arguments": "arguments @> cast(:arguments AS jsonb)",
    "since": "created_at >= :since",
    "until": "created_at < :until",
    "badge": "badge = :badge",
}


async def find_listed(session: ReadSession, wanted: Wanted, *, before: int | None = None, limit: int = 50) -> list[RunRow]:
    """Runs like this, newest first, at most `limit`; `before` is the number of the last one seen."""
    values = _values(wanted) | ({"before": before} if before is not None else {})
    conditions = [_CONDITIONS[name] for name in values if name in _CONDITIONS] + (["number < :before"] if before is not None else [])
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    query = text(f"SELECT id FROM runs {where} ORDER BY number DESC LIMIT :limit")  # noqa: S608  built from constants
    ids = [row.id for row in await session.execute(query, values | {"limit": limit})]
    found = await find_runs(session, ids) if ids else {}
    return [found[one] for one in ids if one in found]


def _values(wanted: Wanted) -> dict[str, Any]:
    given: dict[str, Any] = {name: getattr(wanted, name) for name in _CONDITIONS if getattr(wanted, name) not in ("", None, (), {})}
    if "statuses" in given:
        given["statuses"] = [one.value for one in wanted.statuses]
    if "arguments" in given:
        given["arguments"] = Jsonb(dict(wanted.arguments))
    if "askers" in given:
        given["askers"] = list(wanted.askers or ())
    return given
