"""Deliveries: what other systems sent to triggers, kept before it is answered, and what has become of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession

LEASE_SECONDS: Final = 30
MOST_ATTEMPTS: Final = 3


REFUSED: Final = ("rejected", "failed")
_REFUSED: Final = "state IN ('rejected', 'failed')"


class DeliveryRow(Base):
    """`state`: `waiting`, `done`, `filtered`, `rejected` or `failed`; `reason` is a word for it and `said` a sentence.

    What nobody proved to have sent is one row for each trigger, reason and minute, with its `count` and without a body.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_deliveries_trigger", "trigger_id", "received_at"),
        Index("ix_deliveries_received_at", "received_at"),
        Index("ix_deliveries_refused", "received_at", "id", postgresql_where=text(_REFUSED)),
        Index("ix_deliveries_run_id", "run_id", postgresql_where=text("run_id IS NOT NULL")),
    )

    id: Mapped[Identifier]
    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id"))
    state: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    said: Mapped[str] = mapped_column(server_default=text("''"))
    delivery: Mapped[str] = mapped_column(server_default=text("''"))
    event: Mapped[str] = mapped_column(server_default=text("''"))
    body: Mapped[str | None]
    size: Mapped[int] = mapped_column(server_default=text("0"))
    count: Mapped[int] = mapped_column(server_default=text("1"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    due_at: Mapped[datetime | None]
    run_id: Mapped[UUID | None]
    trace: Mapped[str] = mapped_column(server_default=text("''"))
    received_at: Mapped[Stamp]


@dataclass(frozen=True)
class Key:
    """What may be taken once: for as long as keys are kept, or with `window` seconds for about so long.

    `replay` keys are of the very bytes that were sent, others of what the sender calls the delivery.
    """

    text: str
    replay: bool
    window: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, "rank": 2 if self.replay else 1, "window": self.window}


@dataclass(frozen=True)
class NewDelivery:
    """A delivery to be kept; `waiting` is worked on, other states only tell what came. One whose key is taken is kept as rejected."""

    trigger_id: UUID
    body: str | None
    size: int
    state: str = "waiting"
    reason: str = ""
    said: str = ""
    delivery: str = ""
    event: str = ""
    trace: str = ""
    keys: tuple[Key, ...] = ()
    id: UUID = field(default_factory=new_id)


# Each row takes all of its keys or is a repetition; of two rows in one batch that want the same key, the first has it.
_KEEP = text("""
WITH sent AS (SELECT * FROM jsonb_to_recordset(cast(:rows AS jsonb)) AS w(
       n int, id uuid, trigger_id uuid, body text, size int, state text, reason text, said text, delivery text, event text, trace text,
       keys jsonb)),
known AS (SELECT d.id, d.state, d.reason FROM sent s JOIN deliveries d USING (id)),
wanted AS (SELECT * FROM sent WHERE id NOT IN (SELECT id FROM known)),
moment AS MATERIALIZED (SELECT countersign_now() AS now),
asked AS (SELECT w.n, k.rank, k.text || CASE WHEN k.window > 0
                 THEN ':' || (floor(extract(epoch FROM moment.now) / k.window) + part)::bigint ELSE '' END AS key
          FROM wanted w, moment, jsonb_to_recordset(w.keys) AS k(text text, rank int, "window" int),
               generate_series(0, CASE WHEN k.window > 0 THEN 1 ELSE 0 END) AS part),
firsts AS (SELECT key, min(n) AS n FROM asked GROUP BY key),
taken AS (INSERT INTO inbox (key, received_at) SELECT key, now FROM firsts, moment ON CONFLICT DO NOTHING RETURNING key),
clashes AS (SELECT a.n, max(a.rank) AS rank FROM asked a JOIN firsts f USING (key)
            WHERE a.n <> f.n OR a.key NOT IN (SELECT key FROM taken) GROUP BY a.n),
kept AS (INSERT INTO deliveries (id, trigger_id, state, reason, said, delivery, event, body, size, trace, received_at, due_at)
         SELECT w.id, w.trigger_id, CASE WHEN c.n IS NULL THEN w.state ELSE 'rejected' END,
                CASE c.rank WHEN 2 THEN 'replayed' WHEN 1 THEN 'repeated' ELSE w.reason END,
                CASE WHEN c.n IS NULL THEN w.said ELSE 'This was delivered before.' END, w.delivery, w.event,
                CASE WHEN c.n IS NULL THEN w.body END, w.size, w.trace, moment.now,
                CASE WHEN c.n IS NULL AND w.state = 'waiting' THEN moment.now END
         FROM wanted w CROSS JOIN moment LEFT JOIN clashes c USING (n) RETURNING id, state, reason),
woken AS (SELECT pg_notify('countersign_work', 'deliveries') FROM kept WHERE state = 'waiting' LIMIT 1)
SELECT id, state, reason, (SELECT count(*) FROM woken) AS woken FROM kept UNION ALL SELECT id, state, reason, 0 FROM known
""")


@dataclass(frozen=True)
class Kept:
    """What a delivery was kept as."""

    id: UUID
    state: str
    reason: str


async def keep_deliveries(session: WriteSession, deliveries: Sequence[NewDelivery]) -> dict[UUID, Kept]:
    """Keeps deliveries and takes their keys in one statement; one kept before under its id stays what it was."""
    rows = await session.execute(_KEEP, {"rows": Jsonb([_as_row(n, one) for n, one in enumerate(deliveries)])})
    return {row.id: Kept(row.id, row.state, row.reason) for row in rows}


@dataclass(frozen=True)
class Denied:
    """Deliveries that nobody proved to have sent, of one trigger and minute; `id` is the same for all that are counted together."""

    id: UUID
    trigger_id: UUID
    reason: str
    count: int


async def count_denied(session: WriteSession, denied: Sequence[Denied]) -> None:
    """Adds to what was counted for the minute."""
    for one in denied:
        await session.execute(
            text(
                "INSERT INTO deliveries (id, trigger_id, state, reason, count) SELECT :id, id, 'rejected', :reason, :count FROM triggers"
                " WHERE id = :trigger_id ON CONFLICT (id) DO UPDATE SET count = deliveries.count + excluded.count"
            ),
            one.__dict__,
        )


async def take_deliveries(session: WriteSession, *, limit: int) -> list[UUID]:
    """Takes what is due for half a minute, oldest first. Each time is counted: what kills its worker is taken no more than thrice."""
    rows = await session.execute(
        text(
            "WITH due AS (SELECT id FROM deliveries WHERE due_at <= countersign_now() ORDER BY due_at, id LIMIT :limit"
            " FOR UPDATE SKIP LOCKED), taken AS (UPDATE deliveries d SET attempts = attempts + 1,"
            " due_at = countersign_now() + make_interval(secs => :lease) FROM due WHERE d.id = due.id RETURNING d.id, d.received_at)"
            " SELECT id FROM taken ORDER BY received_at, id"
        ),
        {"limit": limit, "lease": LEASE_SECONDS},
    )
    return [row.id for row in rows]


async def lock_delivery(session: WriteSession, delivery: UUID) -> DeliveryRow | None:
    """The delivery, locked, if it is still to be worked on and nobody else has it."""
    query = select(DeliveryRow).where(DeliveryRow.id == delivery, DeliveryRow.due_at.is_not(None))
    return (await session.scalars(query.with_for_update(skip_locked=True).execution_options(populate_existing=True))).first()


async def end_delivery(
    session: WriteSession, delivery: UUID, *, state: str, reason: str = "", said: str = "", run: UUID | None = None
) -> None:
    """What has become of it."""
    await session.execute(
        text(
            "UPDATE deliveries SET state = :state, reason = :reason, said = :said, run_id = :run, due_at = NULL"
            " WHERE id = :id AND due_at IS NOT NULL"
        ),
        {"id": delivery, "state": state, "reason": reason, "said": said[:500], "run": run},
    )


async def next_delivery(session: ReadSession) -> float | None:
    """Seconds until the next one is due; None when none waits."""
    row = (
        await session.execute(
            text("SELECT extract(epoch FROM min(due_at) - countersign_now()) AS seconds FROM deliveries WHERE due_at IS NOT NULL")
        )
    ).one()
    return None if row.seconds is None else max(0.0, float(row.seconds))


async def find_deliveries(
    session: ReadSession,
    *,
    trigger: UUID | None = None,
    states: Sequence[str] = (),
    with_body: bool = False,
    before: UUID | None = None,
    limit: int = 50,
) -> list[DeliveryRow]:
    """Deliveries, newest first; `before` is the last one seen."""
    query = select(DeliveryRow).order_by(DeliveryRow.received_at.desc(), DeliveryRow.id.desc()).limit(limit)
    if trigger is not None:
        query = query.where(DeliveryRow.trigger_id == trigger)
    if tuple(states) == REFUSED:
        query = query.where(text(_REFUSED))  # as its index says it
    elif states:
        query = query.where(DeliveryRow.state.in_(states))
    if with_body:
        query = query.where(DeliveryRow.body.is_not(None))
    if before is not None:
        query = query.where(text("(deliveries.received_at, deliveries.id) < (SELECT received_at, id FROM deliveries WHERE id = :before)"))
        query = query.params(before=before)
    return list(await session.scalars(query.execution_options(populate_existing=True)))


async def forget_deliveries(session: WriteSession, *, days: int) -> None:
    """Removes what came more than so many days ago, and the keys it took."""
    await session.execute(
        text(
            "DELETE FROM deliveries d WHERE received_at < countersign_now() - make_interval(days => :days) AND due_at IS NULL"
            " AND NOT EXISTS (SELECT FROM runs r WHERE r.id = d.run_id AND countersign_held(r))"
        ),
        {"days": days},
    )
    await session.execute(
        text("DELETE FROM inbox WHERE received_at < countersign_now() - make_interval(days => :days) AND starts_with(key, 'hook:')"),
        {"days": days},
    )


def _as_row(n: int, one: NewDelivery) -> dict[str, Any]:
    return one.__dict__ | {"n": n, "id": str(one.id), "trigger_id": str(one.trigger_id), "keys": [key.as_json() for key in one.keys]}
