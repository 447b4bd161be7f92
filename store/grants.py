"""Roles granted to a person or a group (`@group`) at run time, each by an approved run; a grant can end by itself."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession


class GrantRow(Base):
    __tablename__ = "grants"
    __table_args__ = (Index("ix_grants_subject", "subject", postgresql_where=text("ended_at IS NULL")),)

    id: Mapped[Identifier]
    subject: Mapped[str]
    role: Mapped[str]
    until: Mapped[datetime | None]
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    granted_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


async def give(session: WriteSession, *, grant: UUID, subject: str, role: str, until: datetime | None, run: UUID) -> bool:
    """Gives the role; giving it again by the same grant id changes nothing and returns False."""
    row = await session.execute(
        text(
            "INSERT INTO grants (id, subject, role, until, run_id) VALUES (:id, :subject, :role, :until, :run)"
            " ON CONFLICT (id) DO NOTHING RETURNING 1"
        ),
        {"id": grant, "subject": subject, "role": role, "until": until, "run": run},
    )
    return row.first() is not None


async def end(session: WriteSession, *, subject: str, role: str, by: str) -> int:
    """Ends every current grant of this role to this subject; returns how many there were."""
    rows = await session.execute(
        text(
            "UPDATE grants SET ended_at = countersign_now(), ended_by = :by WHERE subject = :subject AND role = :role"
            " AND ended_at IS NULL AND (until IS NULL OR until > countersign_now()) RETURNING 1"
        ),
        {"subject": subject, "role": role, "by": by},
    )
    return len(rows.all())


async def find_grants(session: ReadSession, *, subject: str | None = None) -> list[Any]:
    """Current grants, newest first: subject, role, until, run_id, granted_at."""
    rows = await session.execute(
        text(
            "SELECT subject, role, until, run_id, granted_at FROM grants WHERE ended_at IS NULL"
            " AND (until IS NULL OR until > countersign_now()) AND (cast(:subject AS text) IS NULL OR subject = :subject)"
            " ORDER BY granted_at DESC LIMIT 200"
        ),
        {"subject": subject},
    )
    return list(rows.all())
