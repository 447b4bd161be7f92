"""What was asked, decided and used in the last days: for comparing policies and for suggesting what one of them could leave out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text

from .databases import ReadSession


@dataclass(frozen=True)
class Recorded:
    """A request as it was asked. Secrets in its arguments are marks."""

    number: int
    asker: str
    command: str
    arguments: dict[str, Any]
    door: str
    place: dict[str, Any]
    reason: str
    at: datetime


@dataclass(frozen=True)
class Gate:
    """One frozen rule for one command: how often it was asked, how often refused, by how many people approved, and how long that took.

    `arguments`, `asker`, `door` and `place` are those of the last request, as an example.
    """

    command: str
    rule: dict[str, Any]
    asked: int
    refused: int
    approvers: int
    median: timedelta | None
    last: Recorded


async def find_recorded(session: ReadSession, *, since: timedelta, limit: int) -> list[Recorded]:
    """Requests of the last `since`, newest first, at most `limit`; numbers follow time, so no older one is read."""
    first = (
        await session.execute(
            text("SELECT number FROM runs WHERE created_at <= countersign_now() - cast(:since AS interval) ORDER BY number DESC LIMIT 1"),
            {"since": since},
        )
    ).scalar_one_or_none()
    rows = await session.execute(
        text(
            "SELECT number, asker, command, arguments, door, place, reason, created_at FROM runs WHERE number > :first"
            " ORDER BY number DESC LIMIT :limit"
        ),
        {"first": first or 0, "limit": limit},
    )
    return [Recorded(*row) for row in rows]


async def find_gates(session: ReadSession, *, since: timedelta, least: int) -> list[Gate]:
    """Approvals that were asked for at least `least` times in the last `since`, most often first."""
    rows = await session.execute(
        text(
            "WITH lately AS (SELECT q.id, q.rule, q.state, q.opened_at, q.closed_at, r.command, r.number"
            " FROM approval_requests q JOIN runs r ON r.id = q.run_id"
            " WHERE q.opened_at > countersign_now() - cast(:since AS interval) AND q.via = ''),"
            " voted AS (SELECT request_id, array_agg(person) FILTER (WHERE verdict = 'approve') AS approvers,"
            " bool_or(verdict = 'deny') AS denied FROM decisions WHERE request_id IN (SELECT id FROM lately) GROUP BY 1),"
            " gates AS (SELECT command, rule, count(*) AS asked, count(*) FILTER (WHERE state = 'denied' OR denied) AS refused,"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - opened_at))"
            " FILTER (WHERE state = 'approved') AS median, max(number) AS last"
            " FROM lately LEFT JOIN voted ON request_id = id GROUP BY 1, 2 HAVING count(*) >= :least)"
            " SELECT g.command, g.rule, g.asked, g.refused, g.median, (SELECT count(DISTINCT person) FROM lately l, voted v,"
            " unnest(v.approvers) AS person WHERE v.request_id = l.id AND l.command = g.command AND l.rule = g.rule) AS approvers,"
            " r.number, r.asker, r.arguments, r.door, r.place, r.reason, r.created_at"
            " FROM gates g JOIN runs r ON r.number = g.last ORDER BY g.asked DESC, g.command"
        ),
        {"since": since, "least": least},
    )
    return [_gate(row) for row in rows]


async def find_uses(session: ReadSession, *, since: timedelta) -> dict[str, dict[str, datetime]]:
    """When each person last asked for each command in the last `since`, and was not refused."""
    rows = await session.execute(
        text(
            "SELECT asker, command, max(created_at) AS at FROM runs"
            " WHERE created_at > countersign_now() - cast(:since AS interval) AND status <> 'refused' GROUP BY 1, 2"
        ),
        {"since": since},
    )
    found: dict[str, dict[str, datetime]] = {}
    for row in rows:
        found.setdefault(row.asker, {})[row.command] = row.at
    return found


async def find_voted(session: ReadSession, *, since: timedelta) -> dict[str, list[dict[str, Any]]]:
    """The rules that each person voted under in the last `since`, each once."""
    rows = await session.execute(
        text(
            "SELECT DISTINCT d.person, q.rule FROM decisions d JOIN approval_requests q ON q.id = d.request_id"
            " WHERE d.decided_at > countersign_now() - cast(:since AS interval)"
        ),
        {"since": since},
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.person, []).append(row.rule)
    return found


@dataclass(frozen=True)
class Lately:
    """What people did last: when each last asked for a command, by name, and when they last voted under a rule."""

    asked: Mapping[str, Mapping[str, datetime]]
    voted: Mapping[str, Sequence[tuple[Mapping[str, Any], datetime]]]


_LATELY_ASKED: Final = text("""
SELECT p.name, l.command, max(l.created_at) AS at FROM unnest(cast(:names AS text[])) AS p (name) CROSS JOIN LATERAL
  (SELECT command, status, created_at FROM runs WHERE asker = p.name ORDER BY number DESC LIMIT :most) l
WHERE l.status <> 'refused' GROUP BY 1, 2
""")
_LATELY_VOTED: Final = text("""
SELECT p.name, q.rule, max(l.decided_at) AS at FROM unnest(cast(:names AS text[])) AS p (name) CROSS JOIN LATERAL
  (SELECT request_id, decided_at FROM decisions WHERE person = p.name ORDER BY decided_at DESC LIMIT :most) l
JOIN approval_requests q ON q.id = l.request_id GROUP BY 1, 2
""")


async def find_lately(session: ReadSession, names: Sequence[str], *, most: int) -> Lately:
    """Of each of these people what is in their latest `most` requests and votes; it costs no more however much there ever was."""
    asked: dict[str, dict[str, datetime]] = {}
    for row in await session.execute(_LATELY_ASKED, {"names": list(names), "most": most}):
        asked.setdefault(row.name, {})[row.command] = row.at
    voted: dict[str, list[tuple[Mapping[str, Any], datetime]]] = {}
    for row in await session.execute(_LATELY_VOTED, {"names": list(names), "most": most}):
        voted.setdefault(row.name, []).append((row.rule, row.at))
    return Lately(asked, voted)


async def find_elsewhere(session: ReadSession) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """What other sources than policy say: the groups they put people in, and whom they vouch for."""
    groups = await session.execute(
        text("SELECT person, array_agg(\"group\") AS groups FROM memberships WHERE source <> 'policy' AND until IS NULL GROUP BY person")
    )
    people: Sequence[Any] = (await session.execute(text("SELECT person FROM vouchers WHERE active AND source <> 'policy'"))).all()
    return {row.person: frozenset(row.groups) for row in groups}, frozenset(row.person for row in people)


def _gate(row: Any) -> Gate:
    last = Recorded(row.number, row.asker, row.command, row.arguments, row.door, row.place, row.reason, row.created_at)
    median = None if row.median is None else timedelta(seconds=float(row.median))
    return Gate(row.command, row.rule, row.asked, row.refused, row.approvers, median, last)
