"""Standing approvals: what may be done a number of times without asking again, and each use of one. Only workers write them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, ForeignKey, Identity, Index, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class StandingRow(Base):
    __tablename__ = "standings"
    __table_args__ = (Index("ix_standings_command", "command", postgresql_where=text("ended_at IS NULL")),)

    id: Mapped[Identifier]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    command: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    people: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    uses: Mapped[int]
    until: Mapped[datetime]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    made_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class StandingUseRow(Base):
    __tablename__ = "standing_uses"
    __table_args__ = (Index("ix_standing_uses_standing_id", "standing_id"),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    standing_id: Mapped[UUID] = mapped_column(ForeignKey("standings.id"))
    digest: Mapped[str]
    used_at: Mapped[Stamp]


_LIVE = "ended_at IS NULL AND until > countersign_now()"


async def add_standing(
    session: WriteSession,
    *,
    standing: UUID,
    command: str,
    arguments: dict[str, Any],
    people: Sequence[str],
    uses: int,
    lasts: timedelta,
    run: UUID,
) -> bool:
    """Adds it, from now on for `lasts`; False when it was added before (the id is the step's own)."""
    row = await session.execute(
        text(
            "INSERT INTO standings (id, command, arguments, people, uses, until, run_id) VALUES (:id, :command, cast(:arguments AS jsonb),"
            " :people, :uses, countersign_now() + cast(:lasts AS interval), :run) ON CONFLICT (id) DO NOTHING RETURNING 1"
        ),
        {
            "id": standing,
            "command": command,
            "arguments": Jsonb(arguments),
            "people": list(people),
            "uses": uses,
            "lasts": lasts,
            "run": run,
        },
    )
    return row.first() is not None


async def end_standing(session: WriteSession, standing: UUID, *, by: str) -> bool:
    """Ends it at once; False when it had ended."""
    row = await session.execute(
        text(f"UPDATE standings SET ended_at = countersign_now(), ended_by = :by WHERE id = :id AND {_LIVE} RETURNING 1"),  # noqa: S608
        {"id": standing, "by": by},
    )
    return row.first() is not None


async def find_live(session: ReadSession, commands: Sequence[str] = ()) -> list[tuple[StandingRow, int]]:
    """Standing approvals that have not ended, of these commands or of all, oldest first, each with how often it was used."""
    query = select(StandingRow).where(text(_LIVE)).order_by(StandingRow.number).execution_options(populate_existing=True)
    rows = list(await session.scalars(query.where(StandingRow.command.in_(commands)) if commands else query))
    if not rows:
        return []
    counted = await session.execute(
        text("SELECT standing_id, count(*) AS uses FROM standing_uses WHERE standing_id = ANY(:ids) GROUP BY standing_id"),
        {"ids": [one.id for one in rows]},
    )
    used = {row.standing_id: row.uses for row in counted}
    return [(one, used.get(one.id, 0)) for one in rows]


async def find_use(session: ReadSession, run_id: UUID, revision: int) -> tuple[StandingRow, str] | None:
    """The standing approval that this revision of a run used, while it has not ended, and the digest it was used for."""
    use = await session.get(StandingUseRow, (run_id, revision), populate_existing=True)
    if use is None:
        return None
    query = select(StandingRow).where(StandingRow.id == use.standing_id, text(_LIVE)).execution_options(populate_existing=True)
    row = (await session.scalars(query)).first()
    return (row, use.digest) if row else None


async def use_standing(session: WriteSession, standing: UUID, *, run_id: UUID, revision: int, digest: str) -> bool:
    """Takes one of its uses for this digest; False when there is none left. Uses at the same instant are taken one after the other."""
    await session.execute(text("SELECT 1 FROM standings WHERE id = :id FOR UPDATE"), {"id": standing})
    row = await session.execute(
        text(
            "INSERT INTO standing_uses (run_id, revision, standing_id, digest) SELECT :run, :revision, s.id, :digest FROM standings s"  # noqa: S608
            f" WHERE s.id = :id AND {_LIVE} AND s.uses > (SELECT count(*) FROM standing_uses u WHERE u.standing_id = s.id)"
            " ON CONFLICT (run_id, revision) DO UPDATE SET digest = excluded.digest"
            " WHERE standing_uses.standing_id = excluded.standing_id RETURNING 1"
        ),
        {"run": run_id, "revision": revision, "digest": digest, "id": standing},
    )
    return row.first() is not None
