"""Requests seen, by idempotency key, so that a repeated delivery has one effect and gets the earlier answer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession


class InboxRow(Base):
    __tablename__ = "inbox"
    __table_args__ = (
        Index("ix_inbox_received_at", "received_at"),
        Index("ix_inbox_answered", "run_id", postgresql_where=text("answer IS NOT NULL")),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    # No foreign key: one statement writes both rows, and checking each of them at the end costs as much as writing it.
    run_id: Mapped[UUID | None]
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    received_at: Mapped[Stamp]


async def take_key(session: WriteSession, key: str) -> bool:
    """Whether this request is new; waits for another transaction that is taking the same key."""
    row = await session.execute(text("INSERT INTO inbox (key) VALUES (:key) ON CONFLICT DO NOTHING RETURNING 1"), {"key": key})
    return row.first() is not None


async def keep_answer(session: WriteSession, key: str, answer: dict[str, Any]) -> None:
    """Remembers what was answered, for a repeated delivery."""
    await session.execute(text("UPDATE inbox SET answer = cast(:answer AS jsonb) WHERE key = :key"), {"key": key, "answer": Jsonb(answer)})


async def find_answer(session: ReadSession, key: str) -> dict[str, Any] | None:
    """What was answered to this request before, if anything was kept."""
    row = (await session.execute(text("SELECT answer FROM inbox WHERE key = :key"), {"key": key})).first()
    return row.answer if row else None


async def find_seen(session: ReadSession, keys: Sequence[str]) -> set[str]:
    """Those of these keys that have been taken."""
    return {row.key for row in await session.execute(text("SELECT key FROM inbox WHERE key = ANY(:keys)"), {"keys": list(keys)})}
