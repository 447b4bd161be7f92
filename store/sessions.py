"""Browser sessions: alive while they are used, listed and ended by their people. They are tokens; `visits` says when each was used."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .tokens import FRESH_SECONDS, Token, hash_of

SESSION: Final = "session"
LISTED: Final = (SESSION, "api")
NOTED_SECONDS: Final = 60.0  # a use within a minute of the last one is not written down
MOST_LISTED: Final = 500


class VisitRow(Base):
    """When a session was used last, to the minute."""

    __tablename__ = "visits"

    token_id: Mapped[UUID] = mapped_column(ForeignKey("tokens.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[Stamp]


@dataclass(frozen=True)
class Session:
    """A live session; `due` when its use should be written down."""

    token: Token
    due: bool


@dataclass(frozen=True)
class Listed:
    """A live session or personal token, without its value, which is kept nowhere. `used_at` is known of sessions alone."""

    id: UUID
    kind: str
    person: str
    label: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


async def find_session(session: ReadSession, value: str, *, idle: float) -> Session | None:
    """The live session with this value, unless it was not used for `idle` seconds."""
    row = (
        await session.execute(
            text(
                "SELECT t.id, t.kind, t.person, t.scopes,"
                " coalesce(t.fresh_at > countersign_now() - cast(:fresh AS interval), false) AS fresh,"
                " coalesce(v.at, t.created_at) < countersign_now() - cast(:noted AS interval) AS due"
                " FROM tokens t LEFT JOIN visits v ON v.token_id = t.id WHERE t.hash = :hash AND t.kind = 'session' AND t.ended_at IS NULL"
                " AND t.expires_at > countersign_now() AND coalesce(v.at, t.created_at) > countersign_now() - cast(:idle AS interval)"
            ),
            {"hash": hash_of(value), "fresh": f"{FRESH_SECONDS} seconds", "noted": f"{NOTED_SECONDS} seconds", "idle": f"{idle} seconds"},
        )
    ).first()
    return Session(Token(row.id, row.kind, row.person, frozenset(row.scopes), row.fresh), row.due) if row else None


async def find_alive(session: ReadSession, hashes: Collection[bytes], *, idle: float) -> set[bytes]:
    """The hashes of those sessions that are alive and whose person is active."""
    rows = await session.execute(
        text(
            "SELECT t.hash FROM tokens t JOIN people p ON p.name = t.person AND p.active LEFT JOIN visits v ON v.token_id = t.id"
            " WHERE t.hash = ANY(:hashes) AND t.kind = 'session' AND t.ended_at IS NULL AND t.expires_at > countersign_now()"
            " AND coalesce(v.at, t.created_at) > countersign_now() - cast(:idle AS interval)"
        ),
        {"hashes": list(hashes), "idle": f"{idle} seconds"},
    )
    return {bytes(row.hash) for row in rows}


async def note_visit(session: WriteSession, token: UUID) -> None:
    """Writes down that the session is used now."""
    await session.execute(
        text("INSERT INTO visits (token_id) VALUES (:token) ON CONFLICT (token_id) DO UPDATE SET at = countersign_now()"), {"token": token}
    )


async def find_live(session: ReadSession, *, person: str | None, idle: float) -> list[Listed]:
    """The live sessions and personal tokens of a person, or of everybody, the newest first."""
    rows = await session.execute(
        text(
            "SELECT t.id, t.kind, t.person, t.label, t.scopes, t.created_at, t.expires_at, coalesce(v.at, t.created_at) AS used_at"
            " FROM tokens t LEFT JOIN visits v ON v.token_id = t.id"
            " WHERE t.kind = ANY(:kinds) AND t.person IS NOT NULL AND (cast(:person AS text) IS NULL OR t.person = :person)"
            " AND t.ended_at IS NULL AND t.expires_at > countersign_now()"
            " AND (t.kind <> 'session' OR coalesce(v.at, t.created_at) > countersign_now() - cast(:idle AS interval))"
            " ORDER BY t.created_at DESC, t.id DESC LIMIT :most"
        ),
        {"kinds": list(LISTED), "person": person, "idle": f"{idle} seconds", "most": MOST_LISTED},
    )
    return [_listed(one, one.used_at if one.kind == SESSION else None) for one in rows]


async def end_live(session: WriteSession, *, person: str | None, only: UUID | None = None, but: UUID | None = None) -> list[Listed]:
    """Ends sessions and personal tokens of a person, or of anybody: `only` that one, or all but one; returns what has ended."""
    rows = await session.execute(
        text(
            "UPDATE tokens SET ended_at = countersign_now() WHERE kind = ANY(:kinds) AND person IS NOT NULL AND ended_at IS NULL"
            " AND (cast(:person AS text) IS NULL OR person = :person) AND (cast(:only AS uuid) IS NULL OR id = :only)"
            " AND (cast(:but AS uuid) IS NULL OR id <> :but) RETURNING id, kind, person, label, scopes, created_at, expires_at"
        ),
        {"kinds": list(LISTED), "person": person, "only": only, "but": but},
    )
    return [_listed(one, None) for one in rows]


def _listed(row: Any, used_at: datetime | None) -> Listed:
    return Listed(row.id, row.kind, row.person, row.label, row.scopes, row.created_at, row.expires_at, used_at)
