"""Outgoing messages: one row is one thing shown in one place, kept current by editing; nothing that is not delivered is dropped."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from uuid6 import uuid7

from .bases import Base, Identifier, Stamp
from .conversations import LINES
from .databases import ReadSession, WriteSession


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
        Index("ix_messages_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL AND dead_at IS NULL")),
        Index("ix_messages_place", "platform", "channel", "created_at"),
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
    kind: Mapped[str]
    platform: Mapped[str]
    team: Mapped[str]
    channel: Mapped[str]
    thread: Mapped[str] = mapped_column(server_default=text("''"))
    person: Mapped[str] = mapped_column(server_default=text("''"))
    wanted: Mapped[int] = mapped_column(server_default=text("1"))
    shown: Mapped[int] = mapped_column(server_default=text("0"))
    urgent: Mapped[bool] = mapped_column(server_default=text("true"))
    due_at: Mapped[datetime | None]
    wanted_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    posting: Mapped[bool] = mapped_column(server_default=text("false"))
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


@dataclass(frozen=True)
class NewMessage:
    """A place where a run is to be shown. `kind`: `card`, `direct` (to an approver or the asker) or `reply` (shown once).

    `answer_to` is a reply's sealed address in base64, for a click's answer; a run's own reply uses the run's. A reply to what is about no
    run has no `run_id`; `account` is then the chat account it is for, who may be nobody we know.
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
    id: UUID = field(default_factory=lambda: UUID(bytes=uuid7().bytes))


ADDING: Final = """INSERT INTO messages (id, run_id, kind, platform, team, channel, thread, person, card, answer_to, account, due_at)
SELECT id, run_id, kind, platform, team, channel, thread, person, card, decode(answer_to, 'base64'), account, countersign_now()
FROM jsonb_to_recordset(cast(:messages AS jsonb)) AS n(id uuid, run_id uuid, kind text, platform text, team text, channel text,
     thread text, person text, card jsonb, answer_to text, account text)
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
    return Jsonb([one.__dict__ | {"id": str(one.id), "run_id": str(one.run_id) if one.run_id else None} for one in messages])


# What is beneath a card comes after the card itself, and each line after the one before; a line that cannot be delivered holds up none.
_READY: Final = """(m.follows IS NULL OR (EXISTS (SELECT FROM messages f WHERE f.id = m.follows AND f.shown > 0)
 AND NOT EXISTS (SELECT FROM messages e WHERE e.follows = m.follows AND e.line < m.line AND e.shown = 0 AND e.dead_at IS NULL)))"""
_TAKE = text(f"""
WITH chosen AS (SELECT id, posting, follows FROM messages m WHERE due_at <= countersign_now() AND dead_at IS NULL
                  AND (lease_until IS NULL OR lease_until < countersign_now()) AND {_READY}
                ORDER BY urgent DESC, due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE messages m SET lease_until = countersign_now() + interval '30 seconds', attempts = m.attempts + 1,
       posting = m.posting OR (m.remote_id IS NULL AND m.platform <> 'room')
FROM chosen c LEFT JOIN messages f ON f.id = c.follows WHERE m.id = c.id
RETURNING m.id, m.run_id, m.kind, m.platform, m.team, m.channel, m.thread, m.person, m.wanted, m.shown, m.attempts, c.posting,
          m.remote_channel, m.remote_id, m.card, m.account, m.created_at, m.follows, f.remote_channel AS card_channel,
          CASE WHEN f.thread <> '' AND f.remote_channel = f.channel THEN f.thread ELSE f.remote_id END AS card_thread,
          coalesce(m.answer_to, (SELECT r.answer_to FROM runs r WHERE r.id = m.run_id AND m.kind = 'reply')) AS answer_to
""")  # noqa: S608  built from constants


async def take_due(session: WriteSession, *, limit: int) -> list[Any]:
    """Takes due messages for 30 s, urgent ones first; a reply's `answer_to` is its own or that of its run.

    Intent before effect: what is to be posted is marked with the taking, and whoever takes it again after a crash sees `posting`, so that
    a post whose outcome is unclear is looked for before it is made again. What `follows` a card goes into `card_thread` of `card_channel`.
    """
    return list((await session.execute(_TAKE, {"limit": limit})).all())


@dataclass(frozen=True)
class Delivered:
    """What is shown now: the version of the run's state, the card, and where the platform keeps it; `first` when it was not before."""

    id: UUID
    version: int
    card: dict[str, Any]
    remote_channel: str | None = None
    remote_id: str | None = None
    first: bool = False


_DONE = text(f"""
WITH done AS (UPDATE messages m SET shown = d.version, card = d.card, remote_channel = coalesce(d.remote_channel, m.remote_channel),
       remote_id = coalesce(d.remote_id, m.remote_id), edited_at = countersign_now(), lease_until = NULL, attempts = 0, posting = false,
       error = '', wanted_at = CASE WHEN m.wanted > d.version AND m.kind <> 'reply' THEN countersign_now() END,
       due_at = CASE WHEN m.wanted > d.version AND m.kind <> 'reply' THEN
                                 CASE WHEN m.urgent THEN countersign_now() ELSE countersign_now() + interval '2 seconds' END END
FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS d(id uuid, version int, card jsonb, remote_channel text, remote_id text, first bool)
WHERE m.id = d.id RETURNING m.id, m.run_id, m.kind, m.platform, m.team, m.channel, m.person, d.first),
beneath AS ({LINES.format(cards="(SELECT * FROM done WHERE first)", said="conversations")}),
places AS (SELECT DISTINCT CASE WHEN person <> '' THEN '@' || person ELSE channel END AS place FROM done WHERE platform = 'room')
SELECT pg_notify('countersign_room', place) FROM places
""")  # noqa: S608  built from constants


async def mark_delivered(session: WriteSession, delivered: Sequence[Delivered]) -> None:
    """Records what is shown; a message whose run has moved on meanwhile stays due. Beneath a new card comes what was said before it.

    Open rooms are told which places changed: a channel, or `@person` for what is for one person alone.
    """
    if not delivered:
        return
    rows = [{**{name: getattr(one, name) for name in one.__dataclass_fields__}, "id": str(one.id)} for one in delivered]
    await session.execute(_DONE, {"rows": Jsonb(rows)})


async def put_off(session: WriteSession, message_id: UUID, *, seconds: float, error: str, unclear: bool, dead: bool = False) -> None:
    """Keeps a message that could not be delivered for `seconds`, or for a person to look at when `dead`."""
    await session.execute(
        text(
            "UPDATE messages SET lease_until = NULL, due_at = countersign_now() + cast(:seconds AS interval), error = :error,"
            " posting = posting AND :unclear, dead_at = CASE WHEN :dead THEN countersign_now() END WHERE id = :id"
        ),
        {"id": message_id, "seconds": f"{seconds} seconds", "error": error[:300], "unclear": unclear, "dead": dead},
    )


async def put_off_channel(session: WriteSession, *, platform: str, channel: str, seconds: float) -> None:
    """Every due message of a channel waits: the platform said how long."""
    await session.execute(
        text(
            "UPDATE messages SET due_at = countersign_now() + cast(:seconds AS interval) WHERE platform = :platform"
            " AND coalesce(remote_channel, channel) = :channel AND due_at < countersign_now() + cast(:seconds AS interval)"
            " AND dead_at IS NULL"
        ),
        {"platform": platform, "channel": channel, "seconds": f"{seconds} seconds"},
    )


_NEXT = text(f"""
SELECT extract(epoch FROM min(greatest(due_at, coalesce(lease_until, due_at))) - countersign_now()) AS seconds
FROM messages m WHERE due_at IS NOT NULL AND dead_at IS NULL AND {_READY}
""")  # noqa: S608  built from constants


async def next_due(session: ReadSession) -> float | None:
    """Seconds until the next message is due (0 when one is due now); None when none waits, or only what has to come after another."""
    row = (await session.execute(_NEXT)).one()
    return None if row.seconds is None else max(0.0, float(row.seconds))


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


_IN_PLACE = text("""
SELECT p.id, p.run_id, p.kind, p.person, p.card, p.shown, p.created_at, greatest(p.edited_at, b.edited_at) AS edited_at,
       coalesce(b.beneath, '[]') AS beneath
FROM (SELECT * FROM messages WHERE platform = :platform AND channel = :channel AND (person = '' OR person = :person)
        AND card IS NOT NULL AND shown > 0 AND follows IS NULL ORDER BY created_at DESC LIMIT :limit) p
CROSS JOIN LATERAL (SELECT max(l.edited_at) AS edited_at,
                           jsonb_agg(jsonb_build_object('text', l.card ->> 'text', 'at', extract(epoch FROM l.created_at)) ORDER BY l.line)
                           AS beneath
                    FROM (SELECT * FROM messages f WHERE f.follows = p.id AND f.shown > 0 ORDER BY f.line DESC LIMIT 50) l) b
ORDER BY p.created_at
""")


async def find_in_place(session: ReadSession, *, platform: str, channel: str, person: str, limit: int) -> list[Any]:
    """What a room shows in a channel to a person, oldest first: the channel's cards and what is for this person alone.

    `beneath` is what follows a card: its last lines, first to last, each with `text` and `at` in seconds since 1970; `edited_at` counts
    them in.
    """
    rows = await session.execute(_IN_PLACE, {"platform": platform, "channel": channel, "person": person, "limit": limit})
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
            "SELECT kind, platform, channel, person, shown, wanted, edited_at, due_at, dead_at, error, created_at FROM messages"
            " WHERE run_id = :run AND follows IS NULL ORDER BY created_at, id"
        ),
        {"run": run_id},
    )
    return list(rows.all())


async def find_message_by_remote(session: ReadSession, *, platform: str, remote_channel: str, remote_id: str) -> Any | None:
    row = await session.execute(
        text("SELECT * FROM messages WHERE platform = :platform AND remote_channel = :channel AND remote_id = :remote"),
        {"platform": platform, "channel": remote_channel, "remote": remote_id},
    )
    return row.first()
