"""Triggers: addresses at which other systems deliver, how a delivery is proved, and what it starts. Only workers write them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class TriggerRow(Base):
    """`kind` says what a delivery becomes (`command`, `alertmanager`, `pagerduty`), `sender` how it is proved; `body` is the rest.

    The `holder` answers for what the service `account` asks.
    `secret` is sealed to the web processes' key; `previous` is the one before it, which holds until `previous_until`.
    """

    __tablename__ = "triggers"
    __table_args__ = (Index("uq_triggers_name", "name", unique=True, postgresql_where=text("ended_at IS NULL")),)

    id: Mapped[Identifier]
    name: Mapped[str]
    revision: Mapped[int]
    kind: Mapped[str]
    sender: Mapped[str]
    body: Mapped[dict[str, Any]]
    secret: Mapped[bytes]
    previous: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    account: Mapped[str] = mapped_column(ForeignKey("people.name"))
    holder: Mapped[str] = mapped_column(ForeignKey("people.name"))
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    made_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


_SELECT: Final = select(TriggerRow).execution_options(populate_existing=True)


async def add_trigger(
    session: WriteSession,
    trigger: UUID,
    *,
    name: str,
    kind: str,
    sender: str,
    body: Mapping[str, Any],
    secret: bytes,
    account: str,
    holder: str,
    run: UUID,
) -> bool:
    """Adds it; False when it was added before (the id is the step's own) or another one has the name."""
    row = await session.execute(
        text(
            "INSERT INTO triggers (id, name, revision, kind, sender, body, secret, account, holder, run_id)"
            " VALUES (:id, :name, 1, :kind, :sender, cast(:body AS jsonb), :secret, :account, :holder, :run)"
            " ON CONFLICT DO NOTHING RETURNING 1"
        ),
        {
            "id": trigger,
            "name": name,
            "kind": kind,
            "sender": sender,
            "body": Jsonb(dict(body)),
            "secret": secret,
            "account": account,
            "holder": holder,
            "run": run,
        },
    )
    return row.first() is not None


async def change_trigger(session: WriteSession, trigger: UUID, *, was: int, body: Mapping[str, Any], account: str, holder: str) -> bool:
    """Changes revision `was` of it; False when it is another revision by now, or has ended."""
    row = await session.execute(
        text(
            "UPDATE triggers SET revision = revision + 1, body = cast(:body AS jsonb), account = :account, holder = :holder"
            " WHERE id = :id AND revision = :was AND ended_at IS NULL RETURNING 1"
        ),
        {"id": trigger, "was": was, "body": Jsonb(dict(body)), "account": account, "holder": holder},
    )
    return row.first() is not None


async def rotate_trigger(session: WriteSession, trigger: UUID, *, was: int, secret: bytes, overlap: timedelta) -> bool:
    """Gives revision `was` of it a new secret; the old one holds for `overlap`, one before that no longer."""
    row = await session.execute(
        text(
            "UPDATE triggers SET revision = revision + 1, previous = secret, secret = :secret,"
            " previous_until = countersign_now() + cast(:overlap AS interval)"
            " WHERE id = :id AND revision = :was AND ended_at IS NULL RETURNING 1"
        ),
        {"id": trigger, "was": was, "secret": secret, "overlap": overlap},
    )
    return row.first() is not None


async def end_trigger(session: WriteSession, trigger: UUID, *, by: str) -> bool:
    """Ends it at once: what is delivered to it from now on is refused like what is delivered to no trigger."""
    row = await session.execute(
        text("UPDATE triggers SET ended_at = countersign_now(), ended_by = :by WHERE id = :id AND ended_at IS NULL RETURNING 1"),
        {"id": trigger, "by": by},
    )
    return row.first() is not None


async def restore_trigger(session: WriteSession, trigger: UUID) -> bool:
    """Undoes its end, unless another one has its name by now."""
    row = await session.execute(
        text(
            "UPDATE triggers t SET ended_at = NULL, ended_by = NULL WHERE id = :id AND ended_at IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM triggers o WHERE o.name = t.name AND o.ended_at IS NULL) RETURNING 1"
        ),
        {"id": trigger},
    )
    return row.first() is not None


async def find_triggers(session: ReadSession) -> list[TriggerRow]:
    """Those that have not ended, by name."""
    return list(await session.scalars(_SELECT.where(TriggerRow.ended_at.is_(None)).order_by(TriggerRow.name)))


async def find_trigger(session: ReadSession, trigger: UUID) -> TriggerRow | None:
    """The trigger, ended or not."""
    return (await session.scalars(_SELECT.where(TriggerRow.id == trigger))).first()


async def find_trigger_named(session: ReadSession, name: str) -> TriggerRow | None:
    """The one of this name that has not ended."""
    return (await session.scalars(_SELECT.where(TriggerRow.name == name, TriggerRow.ended_at.is_(None)))).first()
