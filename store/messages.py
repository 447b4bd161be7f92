"""Outgoing messages: one row is one thing shown in one place, kept current by editing; nothing that is not delivered is dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, Computed, ForeignKey, Index, SmallInteger, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from uuid6 import uuid7

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class Priority(IntEnum):
    """What goes first in a place; the column `priority` has the number."""

    approval = 1
    answer = 2
    card = 3
    line = 4
    alert = 5
    progress = 6


def telling(priority: Priority | str, *, soon: bool = True) -> str:
    """What a statement sets to have messages `m` told again: at once, or two seconds after the last edit, with what comes till then.

    What is told already, sooner or more urgently, stays so. `priority` may be an expression.
    """
    due = "countersign_now()" if soon else "least(m.due_at, greatest(countersign_now(), m.edited_at + interval '2 seconds'))"
    urgency = f"CASE WHEN m.due_at IS NULL THEN {priority} ELSE least(m.priority, {priority}) END"
    return f"wanted = m.wanted + 1, due_at = {due}, priority = {urgency}"


LANE: Final = (
    "CASE WHEN platform = 'room' OR (kind = 'reply' AND follows IS NULL AND remote_channel IS NULL) THEN ''"
    " ELSE platform || ' ' || coalesce(remote_channel, nullif(channel, ''), '@' || person) END"
)
"""The place that a message needs for itself while it is written; what needs none has none."""


class MessageRow(Base):
    __tablename__ = "messages"
    __table_args__ = (
        Index(
            "uq_messages_place",
            "run_id",
            "kind",
            "platform",
            "team",
            "channel",
            "person",
            unique=True,
            postgresql_where=text("kind <> 'reply'"),
        ),
        Index(
            "uq_messages_alert_place",
            "alert_group_id",
            "kind",
            "platform",
            "team",
            "channel",
            "person",
            unique=True,
            postgresql_where=text("alert_group_id IS NOT NULL AND kind <> 'reply'"),
        ),
        Index("ix_messages_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL AND dead_at IS NULL")),
        Index("ix_messages_lane", "lane", "priority", "due_at", postgresql_where=text("due_at IS NOT NULL AND dead_at IS NULL")),
        Index("ix_messages_dead_at", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
        Index("ix_messages_place", "platform", "channel", "created_at"),
        Index("ix_messages_reply", "run_id", postgresql_where=text("kind = 'reply'")),
        Index("ix_messages_person", "person", "platform", "created_at", postgresql_where=text("channel = '' AND follows IS NULL")),
        Index("ix_messages_follows", "follows", "line", postgresql_where=text("follows IS NOT NULL")),
        Index(
            "uq_messages_line",
            "run_id",
            "platform",
            "team",
            "channel",
            "person",
            "line",
            unique=True,
            postgresql_where=text("line IS NOT NULL"),
        ),
    )

    id: Mapped[Identifier]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    alert_group_id: Mapped[UUID | None] = mapped_column(ForeignKey("alert_groups.id"))
    kind: Mapped[str]
    platform: Mapped[str]
    team: Mapped[str]
    channel: Mapped[str]
    thread: Mapped[str] = mapped_column(server_default=text("''"))
    person: Mapped[str] = mapped_column(server_default=text("''"))
    wanted: Mapped[int] = mapped_column(server_default=text("1"))
    shown: Mapped[int] = mapped_column(server_default=text("0"))
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("3"))
    due_at: Mapped[datetime | None]
    wanted_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    posting_since: Mapped[datetime | None]
    remote_channel: Mapped[str | None]
    remote_id: Mapped[str | None]
    card: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    answer_to: Mapped[bytes | None]
    account: Mapped[str] = mapped_column(server_default=text("''"))
    edited_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(server_default=text("''"))
    dead_at: Mapped[datetime | None]
    created_at: Mapped[Stamp]
    follows: Mapped[UUID | None] = mapped_column(ForeignKey("messages.id"))
    line: Mapped[int | None] = mapped_column(BigInteger)
    file: Mapped[str] = mapped_column(server_default=text("''"))
    lane: Mapped[str] = mapped_column(Computed(LANE, persisted=True))


@dataclass(frozen=True)
class NewMessage:
    """A place where a run, or a group of alerts, is to be shown.

    `kind`: `card`, `direct` (to an approver or the asker) or `reply` (shown once).

    `answer_to` is a reply's sealed address in base64, for a click's answer; a run's own reply uses the run's. A reply to what is about no
    run has no `run_id`; `account` is then the chat account it is for, who may be nobody we know.

    What `follows` another message is its `line` of that number, shown after it, once; with a `file` it is a file of that name.
    """

    run_id: UUID | None
    kind: str
    platform: str
    team: str
    channel: str = ""
    thread: str = ""
    person: str = ""
    card: dict[str, Any] | None = None
    answer_to: str | None = None
    account: str = ""
    priority: Priority | None = None
    alert_group_id: UUID | None = None
    follows: UUID | None = None
    line: int | None = None
    file: str = ""
    id: UUID = field(default_factory=lambda: UUID(bytes=uuid7().bytes))


ADDING: Final = """INSERT INTO messages (id, run_id, alert_group_id, kind, platform, team, channel, thread, person, card, answer_to,
                                           account, priority, follows, line, file, due_at)
SELECT id, run_id, alert_group_id, kind, platform, team, channel, thread, person, card, decode(answer_to, 'base64'), account, priority,
       follows, line, file, countersign_now()
FROM jsonb_to_recordset(cast(:messages AS jsonb)) AS n(id uuid, run_id uuid, alert_group_id uuid, kind text, platform text,
     team text, channel text, thread text, person text, card jsonb, answer_to text, account text, priority int,
     follows uuid, line bigint, file text)
"""
"""How a statement adds messages beside something else; whoever does tells `countersign_work`. `:messages` is what `as_rows` gives."""
_ADD = text(f"""
WITH added AS ({ADDING} ON CONFLICT DO NOTHING RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM (SELECT count(*) AS n FROM added) c WHERE c.n > 0
""")  # noqa: S608  built from constants


async def add_messages(session: WriteSession, messages: Sequence[NewMessage]) -> None:
    """Adds places where runs are shown; a place that shows the run already stays as it is."""
    if messages:
        await session.execute(_ADD, {"messages": as_rows(messages)})


def as_rows(messages: Sequence[NewMessage]) -> Jsonb:
    """The messages as a statement takes them."""
    return Jsonb(
        [
            one.__dict__ | {name: str(found) if (found := getattr(one, name)) else None for name in _IDS} | {"priority": _priority(one)}
            for one in messages
        ]
    )


_IDS: Final = ("id", "run_id", "alert_group_id", "follows")
_TELL: Final = """WITH shown AS (UPDATE messages m SET {telling} WHERE m.{whose} = :id AND m.kind <> 'reply' RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM shown LIMIT 1"""
_TELL_RUN: Final = text(_TELL.format(telling=telling(Priority.card), whose="run_id"))
_TELL_ALERTS: Final = {
    soon: text(_TELL.format(telling=telling(Priority.alert, soon=soon), whose="alert_group_id")) for soon in (True, False)
}


async def call_senders(session: WriteSession) -> None:
    """Says that messages are due. Alone in its transaction it needs no disk, and so keeps nobody waiting who notifies too."""
    await session.execute(text("SELECT pg_notify('countersign_work', 'messages')"))


async def tell_run(session: WriteSession, run_id: UUID) -> None:
    """Has every card of the run told again, at once."""
    await session.execute(_TELL_RUN, {"id": run_id})


async def tell_alerts(session: WriteSession, group: UUID, *, soon: bool) -> None:
    """Has the cards of a group of alerts told again; what is not wanted `soon` shares an edit with what comes in the next seconds."""
    await session.execute(_TELL_ALERTS[soon], {"id": group})


def _priority(one: NewMessage) -> Priority:
    if one.alert_group_id is not None:
        return Priority.alert  # a storm of alerts must not hold up a question to people
    by_kind = {"reply": Priority.answer, "card": Priority.card}
    return one.priority or by_kind.get(one.kind, Priority.approval)


@dataclass(frozen=True)
class Backlog:
    """What waits to be shown on one platform: how many messages, and for how many seconds the one that waits longest."""

    platform: str
    waiting: int
    oldest: float


async def find_backlog(session: ReadSession) -> list[Backlog]:
    """The messages of each platform that are not shown as they are wanted, without lines beneath them and what cannot be delivered."""
    rows = await session.execute(
        text(
            "SELECT platform, count(*) AS waiting, greatest(0, extract(epoch FROM countersign_now()"
            " - min(CASE WHEN shown = 0 THEN created_at ELSE coalesce(wanted_at, due_at) END))) AS oldest"
            " FROM messages WHERE due_at IS NOT NULL AND dead_at IS NULL AND follows IS NULL GROUP BY platform"
        )
    )
    return [Backlog(row.platform, row.waiting, float(row.oldest)) for row in rows]


async def find_told(session: ReadSession, run_ids: Sequence[UUID]) -> dict[UUID, set[tuple[str, str]]]:
    """Who has direct messages about these runs: kind and person of each."""
    rows = await session.execute(
        text("SELECT run_id, kind, person FROM messages WHERE run_id = ANY(:runs) AND kind <> 'reply' AND person <> ''"),
        {"runs": list(run_ids)},
    )
    found: dict[UUID, set[tuple[str, str]]] = {one: set() for one in run_ids}
    for row in rows:
        found[row.run_id].add((row.kind, row.person))
    return found


_PLACED: Final = """
SELECT p.id, p.run_id, p.kind, p.person, p.card, p.shown, p.created_at, greatest(p.edited_at, b.edited_at) AS edited_at,
       coalesce(b.beneath, '[]') AS beneath
FROM (SELECT * FROM messages WHERE platform = :platform AND {whose}
        AND card IS NOT NULL AND shown > 0 AND follows IS NULL ORDER BY created_at DESC LIMIT :limit) p
CROSS JOIN LATERAL (SELECT max(l.edited_at) AS edited_at,
                           jsonb_agg(jsonb_build_object('text', l.card ->> 'text', 'at', extract(epoch FROM l.created_at)) ORDER BY l.line)
                           AS beneath
                    FROM (SELECT * FROM messages f WHERE f.follows = p.id AND f.shown > 0 ORDER BY f.line DESC LIMIT 50) l) b
WHERE greatest(p.edited_at, p.created_at, b.edited_at) > :after
ORDER BY p.created_at
"""
_CHANGED: Final = text(_PLACED.format(whose="channel = :channel"))
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_IN_CHANNEL: Final = text(_PLACED.format(whose="channel = :channel AND (person = '' OR person = :person)"))
_DIRECT: Final = text(_PLACED.format(whose="channel = '' AND person = :person"))


async def find_in_place(session: ReadSession, *, platform: str, channel: str, person: str, limit: int) -> list[Any]:
    """What a room shows in a channel to a person, oldest first: the channel's cards and what is for this person alone.

    The empty channel is their direct messages.

    `beneath` is what follows a card: its last lines, first to last, each with `text` and `at` in seconds since 1970; `edited_at` counts
    them in.
    """
    given = {"platform": platform, "person": person, "limit": limit, "after": _EVER}
    rows = await (session.execute(_IN_CHANNEL, given | {"channel": channel}) if channel else session.execute(_DIRECT, given))
    return list(rows.all())


async def find_changed_in_place(session: ReadSession, *, platform: str, channel: str, after: datetime, limit: int) -> list[Any]:
    """The same for everybody in a channel, of what changed after a moment among the latest `limit`; `person` says whom a row is for."""
    rows = await session.execute(_CHANGED, {"platform": platform, "channel": channel, "after": after, "limit": limit})
    return list(rows.all())


async def find_chat(session: ReadSession, run_id: UUID) -> tuple[str, str] | None:
    """The platform and team where a run is shown; None while it is shown nowhere."""
    row = await session.execute(
        text("SELECT platform, team FROM messages WHERE run_id = :run AND kind <> 'reply' ORDER BY kind, created_at LIMIT 1"),
        {"run": run_id},
    )
    found = row.first()
    return (found.platform, found.team) if found else None


async def find_shown(session: ReadSession, run_id: UUID) -> list[Any]:
    """Where a run is shown, has been or will be, in the order in which it was announced."""
    rows = await session.execute(
        text(
            "SELECT kind, platform, channel, person, shown, wanted, edited_at, due_at, dead_at, error, created_at FROM ("
            " SELECT * FROM messages WHERE run_id = :run AND kind <> 'reply'"
            " UNION ALL SELECT * FROM messages WHERE run_id = :run AND kind = 'reply') m"  # each has its index
            " WHERE follows IS NULL ORDER BY created_at, id"
        ),
        {"run": run_id},
    )
    return list(rows.all())


async def forget_messages(session: WriteSession, *, days: int, finished: Sequence[str], limit: int) -> int:
    """Removes at most so many messages older than so many days, those of runs once the run ended as long ago; returns how many.

    What stands beneath a message goes before it. What waits, what could not be delivered, and what a legal hold covers stays.
    """
    return len((await session.execute(_FORGET, {"days": days, "finished": list(finished), "limit": limit})).all())


_FORGET: Final = text("""
DELETE FROM messages WHERE id IN (
  SELECT m.id FROM messages m LEFT JOIN runs r ON r.id = m.run_id
  WHERE m.created_at < countersign_now() - make_interval(days => :days) AND m.due_at IS NULL AND m.alert_group_id IS NULL
    AND (r.id IS NULL OR (r.status = ANY(:finished) AND r.moved_at < countersign_now() - make_interval(days => :days)
         AND NOT countersign_held(r)))
    AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND h.kind = 'person' AND h.target = m.person)
    AND NOT EXISTS (SELECT FROM messages f WHERE f.follows = m.id) LIMIT :limit)
RETURNING id
""")
