"""Alerts: what other systems say is wrong, gathered into groups that have one card each, and the history of each group."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, ForeignKey, Identity, Index, UniqueConstraint, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession
from .messages import Priority

SOURCE: Final = "its source"
AGAIN_MINUTES: Final = 10
"""A group that begins again so soon after its source ended it is the same group."""


class AlertGroupRow(Base):
    """`status`: `firing`, `acknowledged` or `resolved`. What is resolved by hand stays so until an alert of it begins anew."""

    __tablename__ = "alert_groups"
    __table_args__ = (
        UniqueConstraint("number", name="uq_alert_groups_number"),
        Index("uq_alert_groups_open", "trigger_id", "key", unique=True, postgresql_where=text("status <> 'resolved'")),
        Index("ix_alert_groups_key", "trigger_id", "key", "number"),
    )

    id: Mapped[Identifier]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id"))
    key: Mapped[str]
    status: Mapped[str]
    title: Mapped[str]
    severity: Mapped[str] = mapped_column(server_default=text("''"))
    link: Mapped[str] = mapped_column(server_default=text("''"))
    labels: Mapped[dict[str, Any]]
    annotations: Mapped[dict[str, Any]]
    firing: Mapped[int] = mapped_column(server_default=text("0"))
    resolved: Mapped[int] = mapped_column(server_default=text("0"))
    truncated: Mapped[int] = mapped_column(server_default=text("0"))
    opened_at: Mapped[Stamp]
    changed_at: Mapped[Stamp]
    told_at: Mapped[Stamp]
    acknowledged_by: Mapped[str | None]
    acknowledged_at: Mapped[datetime | None]
    resolved_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]


class AlertRow(Base):
    __tablename__ = "alerts"

    group_id: Mapped[UUID] = mapped_column(ForeignKey("alert_groups.id"), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    labels: Mapped[dict[str, Any]]
    annotations: Mapped[dict[str, Any]]
    link: Mapped[str] = mapped_column(server_default=text("''"))
    times: Mapped[int] = mapped_column(server_default=text("1"))
    received_at: Mapped[Stamp]


class AlertHistoryRow(Base):
    __tablename__ = "alert_history"
    __table_args__ = (Index("ix_alert_history_group_id", "group_id", "n"),)

    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    group_id: Mapped[UUID] = mapped_column(ForeignKey("alert_groups.id"))
    kind: Mapped[str]
    by: Mapped[str]
    said: Mapped[str]
    at: Mapped[Stamp]


@dataclass(frozen=True)
class NewAlert:
    """One alert as its source tells it; `status` is `firing` or `resolved`."""

    fingerprint: str
    status: str
    starts_at: datetime
    ends_at: datetime | None = None
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    link: str = ""

    def as_json(self) -> dict[str, Any]:
        return self.__dict__ | {"starts_at": self.starts_at.isoformat(), "ends_at": self.ends_at.isoformat() if self.ends_at else None}


@dataclass(frozen=True)
class NewGroup:
    """What a source tells about one group: its alerts that have changed, and what all of them share."""

    key: str
    title: str
    alerts: tuple[NewAlert, ...]
    severity: str = ""
    link: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    truncated: int = 0
    acknowledged: bool = False


async def lock_key(session: WriteSession, trigger: UUID, key: str) -> AlertGroupRow | None:
    """The newest group of this key; what is told about one key is taken in one after the other."""
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"{trigger}:{key}"})
    query = select(AlertGroupRow).where(AlertGroupRow.trigger_id == trigger, AlertGroupRow.key == key)
    newest = query.order_by(AlertGroupRow.number.desc()).limit(1).with_for_update().execution_options(populate_existing=True)
    return (await session.scalars(newest)).first()


async def lock_group(session: WriteSession, group: UUID) -> AlertGroupRow | None:
    query = select(AlertGroupRow).where(AlertGroupRow.id == group).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).first()


async def open_group(session: WriteSession, trigger: UUID, group: NewGroup) -> UUID:
    """A new group without alerts, firing from now on."""
    made = new_id()
    await session.execute(
        text(
            "INSERT INTO alert_groups (id, trigger_id, key, status, title, labels, annotations)"
            " VALUES (:id, :trigger, :key, 'firing', :title, '{}', '{}')"
        ),
        {"id": made, "trigger": trigger, "key": group.key, "title": group.title},
    )
    return made


async def reopen_group(session: WriteSession, group: UUID) -> bool:
    """Lets a group that its source ended a moment ago go on; False when that is longer ago, or somebody ended it by hand."""
    row = await session.execute(
        text(
            "UPDATE alert_groups SET status = 'firing', resolved_by = NULL, resolved_at = NULL, acknowledged_by = NULL,"
            " acknowledged_at = NULL WHERE id = :id AND status = 'resolved' AND resolved_by = :source"
            " AND resolved_at > countersign_now() - make_interval(mins => :minutes) RETURNING 1"
        ),
        {"id": group, "source": SOURCE, "minutes": AGAIN_MINUTES},
    )
    return row.first() is not None


# What is told late, or twice, says nothing new: an alert begins later than before, or ends.
_TAKE_IN = text("""
WITH told AS (SELECT DISTINCT ON (fingerprint) * FROM jsonb_to_recordset(cast(:alerts AS jsonb)) AS t(fingerprint text, status text,
       starts_at timestamptz, ends_at timestamptz, labels jsonb, annotations jsonb, link text)
       ORDER BY fingerprint, starts_at DESC, (status = 'resolved') DESC),
was AS (SELECT fingerprint, status, starts_at FROM alerts WHERE group_id = :group),
kept AS (INSERT INTO alerts AS a (group_id, fingerprint, status, starts_at, ends_at, labels, annotations, link)
         SELECT :group, fingerprint, status, starts_at, ends_at, labels, annotations, link FROM told
         ON CONFLICT (group_id, fingerprint) DO UPDATE SET times = a.times + 1, received_at = countersign_now(),
            status = CASE WHEN (excluded.starts_at, excluded.status) > (a.starts_at, a.status) THEN excluded.status ELSE a.status END,
            ends_at = CASE WHEN (excluded.starts_at, excluded.status) > (a.starts_at, a.status) THEN excluded.ends_at ELSE a.ends_at END,
            labels = CASE WHEN excluded.labels = '{}' THEN a.labels ELSE excluded.labels END,
            annotations = CASE WHEN excluded.annotations = '{}' THEN a.annotations ELSE excluded.annotations END, link = excluded.link,
            starts_at = greatest(a.starts_at, excluded.starts_at)
         RETURNING fingerprint, status, starts_at, labels)
SELECT k.fingerprint, k.status, k.labels FROM kept k LEFT JOIN was USING (fingerprint)
WHERE was.fingerprint IS NULL OR k.status <> was.status ORDER BY k.fingerprint
""")


@dataclass(frozen=True)
class Changed:
    """An alert that has begun or ended."""

    status: str
    labels: dict[str, str]


async def take_in(session: WriteSession, group: UUID, alerts: Sequence[NewAlert]) -> list[Changed]:
    """Keeps what is told of a group's alerts; returns those of which something new was told."""
    rows = await session.execute(_TAKE_IN, {"group": group, "alerts": Jsonb([one.as_json() for one in alerts])})
    return [Changed(row.status, row.labels) for row in rows]


async def find_known(session: ReadSession, group: UUID, alerts: Sequence[NewAlert]) -> set[tuple[str, datetime]]:
    """Which of these beginnings the group knows already, by fingerprint and start."""
    query = select(AlertRow.fingerprint, AlertRow.starts_at).where(
        AlertRow.group_id == group, AlertRow.fingerprint.in_([one.fingerprint for one in alerts])
    )
    return {(row.fingerprint, row.starts_at) for row in await session.execute(query)}


_COUNT = text("""
WITH counted AS (SELECT count(*) FILTER (WHERE status = 'firing') AS firing, count(*) FILTER (WHERE status = 'resolved') AS resolved
                 FROM alerts WHERE group_id = :group)
UPDATE alert_groups g SET firing = c.firing, resolved = c.resolved, truncated = :truncated, changed_at = countersign_now(),
       title = coalesce(nullif(:title, ''), g.title), severity = coalesce(nullif(:severity, ''), g.severity),
       link = coalesce(nullif(:link, ''), g.link),
       labels = CASE WHEN cast(:labels AS jsonb) = '{}' THEN g.labels ELSE cast(:labels AS jsonb) END,
       annotations = CASE WHEN cast(:annotations AS jsonb) = '{}' THEN g.annotations ELSE cast(:annotations AS jsonb) END,
       status = CASE WHEN c.firing = 0 THEN 'resolved' WHEN g.status = 'firing' AND :acknowledged THEN 'acknowledged' ELSE g.status END,
       acknowledged_by = CASE WHEN :acknowledged THEN coalesce(g.acknowledged_by, :source) ELSE g.acknowledged_by END,
       acknowledged_at = CASE WHEN :acknowledged THEN coalesce(g.acknowledged_at, countersign_now()) ELSE g.acknowledged_at END,
       resolved_by = CASE WHEN c.firing = 0 THEN coalesce(g.resolved_by, :source) ELSE g.resolved_by END,
       resolved_at = CASE WHEN c.firing = 0 THEN coalesce(g.resolved_at, countersign_now()) ELSE g.resolved_at END
FROM counted c WHERE g.id = :group RETURNING g.status, g.firing, g.resolved,
          g.told_at <= countersign_now() - interval '5 minutes' AS silent
""")


async def count_group(session: WriteSession, group: UUID, told: NewGroup) -> Any:
    """Brings a group up to its alerts and what its source said last: `status`, `firing`, `resolved`, and whether it was long `silent`."""
    values = {
        "group": group,
        "title": told.title,
        "severity": told.severity,
        "link": told.link,
        "labels": Jsonb(told.labels),
        "annotations": Jsonb(told.annotations),
        "truncated": told.truncated,
        "acknowledged": told.acknowledged,
        "source": SOURCE,
    }
    return (await session.execute(_COUNT, values)).one()


async def settle_group(session: WriteSession, group: UUID, *, status: str, by: str) -> bool:
    """Acknowledges (`acknowledged`) or ends (`resolved`) a group by hand; False when it was already."""
    column = {"acknowledged": "acknowledged", "resolved": "resolved"}[status]
    row = await session.execute(
        text(
            f"UPDATE alert_groups SET status = :status, {column}_by = :by, {column}_at = countersign_now(), changed_at = countersign_now()"  # noqa: S608
            " WHERE id = :id AND (status = 'firing' OR (status = 'acknowledged' AND :status = 'resolved')) RETURNING 1"
        ),
        {"id": group, "status": status, "by": by},
    )
    return row.first() is not None


_TELL = text(f"""
WITH told AS (INSERT INTO alert_history (group_id, kind, by, said) VALUES (:group, :kind, :by, :said) RETURNING n),
beneath AS (INSERT INTO messages (id, alert_group_id, kind, platform, team, channel, person, card, follows, line, priority, due_at)
            SELECT gen_random_uuid(), m.alert_group_id, 'reply', m.platform, m.team, m.channel, m.person,
                   jsonb_build_object('text', cast(:said AS text)), m.id, told.n, {Priority.alert}, countersign_now()
            FROM messages m, told WHERE :aloud AND m.alert_group_id = :group AND m.kind = 'card' RETURNING 1)
SELECT pg_notify('countersign_work', 'messages') FROM beneath LIMIT 1
""")  # noqa: S608  built from constants


async def tell_history(session: WriteSession, group: UUID, *, kind: str, by: str, said: str, aloud: bool) -> None:
    """Keeps a line of the group's history; `aloud`, it also stands beneath its card, in the thread."""
    await session.execute(_TELL, {"group": group, "kind": kind, "by": by, "said": said, "aloud": aloud})


async def note_told(session: WriteSession, group: UUID) -> None:
    """Counts what has changed in the group as told aloud until now. Only workers do."""
    await session.execute(text("UPDATE alert_groups SET told_at = countersign_now() WHERE id = :id"), {"id": group})


async def find_groups(session: ReadSession, groups: Sequence[UUID]) -> dict[UUID, AlertGroupRow]:
    query = select(AlertGroupRow).where(AlertGroupRow.id.in_(groups)).execution_options(populate_existing=True)
    return {row.id: row for row in await session.scalars(query)}


async def find_group_numbered(session: ReadSession, number: int) -> AlertGroupRow | None:
    query = select(AlertGroupRow).where(AlertGroupRow.number == number).execution_options(populate_existing=True)
    return (await session.scalars(query)).first()


async def list_groups(session: ReadSession, *, ended: bool = False, before: int | None = None, limit: int = 50) -> list[AlertGroupRow]:
    """Groups, newest first: those that are open, or all."""
    query = select(AlertGroupRow).order_by(AlertGroupRow.number.desc()).limit(limit)
    query = query if ended else query.where(AlertGroupRow.status != "resolved")
    query = query if before is None else query.where(AlertGroupRow.number < before)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def find_firing(session: ReadSession, group: UUID, *, limit: int) -> list[AlertRow]:
    """Alerts of a group, those that fire first, each the newest first."""
    query = select(AlertRow).where(AlertRow.group_id == group).order_by(AlertRow.status, AlertRow.starts_at.desc(), AlertRow.fingerprint)
    return list(await session.scalars(query.limit(limit)))


async def find_history(session: ReadSession, group: UUID, *, last: int) -> list[AlertHistoryRow]:
    """The last lines of a group's history, first to last."""
    query = select(AlertHistoryRow).where(AlertHistoryRow.group_id == group).order_by(AlertHistoryRow.n.desc()).limit(last)
    return list(reversed(list(await session.scalars(query))))


async def find_card(session: ReadSession, group: UUID) -> Any | None:
    """Where a group is shown: platform, team, channel, and where the platform keeps the card."""
    row = await session.execute(
        text(
            "SELECT platform, team, channel, remote_channel, remote_id FROM messages WHERE alert_group_id = :group AND kind = 'card'"
            " ORDER BY created_at LIMIT 1"
        ),
        {"group": group},
    )
    return row.first()
