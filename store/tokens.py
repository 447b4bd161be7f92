"""Personal API tokens, browser sessions and one-time links. Only hashes are stored: the value is shown once."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column
from uuid6 import uuid7

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession

FRESH_SECONDS: Final = 300.0  # how long a login counts as just made


class TokenRow(Base):
    __tablename__ = "tokens"

    id: Mapped[Identifier]
    hash: Mapped[bytes] = mapped_column(unique=True)
    kind: Mapped[str]
    person: Mapped[str | None] = mapped_column(ForeignKey("people.name"))
    label: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(TEXT))
    created_at: Mapped[Stamp]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    fresh_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Token:
    """A live token: whose it is, what it may be used for, and whether its holder has just logged in."""

    id: UUID
    kind: str
    person: str | None
    scopes: frozenset[str]
    fresh: bool = False


async def issue_token(
    session: WriteSession, *, kind: str, person: str | None, label: str, scopes: tuple[str, ...], lifetime: float, age: float | None = 0.0
) -> str:
    """Makes a token of `kind` (`api`, `session`, `link` or `scim`) that lives `lifetime` seconds; returns its value, which is kept nowhere.

    A session is made by logging in, `age` seconds ago (None: nobody knows when), so it begins fresh; an API token is made fresh
    by `freshen`.
    """
    value = f"cs_{kind}_{secrets.token_urlsafe(32)}"
    await session.execute(
        text(
            "INSERT INTO tokens (id, hash, kind, person, label, scopes, expires_at, fresh_at)"
            " VALUES (:id, :hash, :kind, :person, :label, :scopes, countersign_now() + cast(:lifetime AS interval),"
            " CASE WHEN :kind = 'session' THEN countersign_now() - cast(:age AS interval) END)"
        ),
        {
            "id": UUID(bytes=uuid7().bytes),
            "hash": hash_of(value),
            "kind": kind,
            "person": person,
            "label": label,
            "scopes": list(scopes),
            "lifetime": f"{lifetime} seconds",
            "age": None if age is None else f"{age} seconds",
        },
    )
    return value


async def keep_code(session: WriteSession, code: str, *, kind: str, person: str, lifetime: float) -> None:
    """Keeps the hash of a code that a person is shown, to be used up by `spend_token` within `lifetime` seconds."""
    await session.execute(
        text(
            "INSERT INTO tokens (id, hash, kind, person, label, scopes, expires_at)"
            " VALUES (:id, :hash, :kind, :person, :kind, '{}', countersign_now() + cast(:lifetime AS interval))"
        ),
        {"id": UUID(bytes=uuid7().bytes), "hash": hash_of(code), "kind": kind, "person": person, "lifetime": f"{lifetime} seconds"},
    )


async def end_codes(session: WriteSession, *, person: str, kind: str) -> None:
    """Ends this person's live codes."""
    await session.execute(
        text("UPDATE tokens SET ended_at = countersign_now() WHERE person = :person AND kind = :kind AND ended_at IS NULL"),
        {"person": person, "kind": kind},
    )


async def find_token(session: ReadSession, value: str, *, kind: str) -> Token | None:
    """The live token of this kind with this value."""
    row = (
        await session.execute(
            text(
                "SELECT id, kind, person, scopes, coalesce(fresh_at > countersign_now() - cast(:fresh AS interval), false) AS fresh"
                " FROM tokens WHERE hash = :hash AND kind = :kind AND ended_at IS NULL AND expires_at > countersign_now()"
            ),
            {"hash": hash_of(value), "kind": kind, "fresh": f"{FRESH_SECONDS} seconds"},
        )
    ).first()
    return Token(row.id, row.kind, row.person, frozenset(row.scopes), row.fresh) if row else None


async def spend_token(session: WriteSession, value: str, *, kind: str) -> Token | None:
    """Uses a one-time token up: the first caller gets it, every later one None."""
    row = (
        await session.execute(
            text(
                "UPDATE tokens SET ended_at = countersign_now(), used_at = countersign_now() WHERE hash = :hash AND kind = :kind"
                " AND ended_at IS NULL AND expires_at > countersign_now() RETURNING id, kind, person, scopes"
            ),
            {"hash": hash_of(value), "kind": kind},
        )
    ).first()
    return Token(row.id, row.kind, row.person, frozenset(row.scopes)) if row else None


async def freshen(session: WriteSession, token: UUID) -> None:
    """Remembers that the holder of this token has just logged in again."""
    await session.execute(text("UPDATE tokens SET fresh_at = countersign_now() WHERE id = :id"), {"id": token})


async def end_token(session: WriteSession, value: str) -> None:
    """Ends a token or session at once."""
    await session.execute(
        text("UPDATE tokens SET ended_at = countersign_now() WHERE hash = :hash AND ended_at IS NULL"), {"hash": hash_of(value)}
    )


async def end_labelled(session: WriteSession, *, kind: str, label: str) -> int:
    """Ends every live token of this kind with this label; returns how many there were."""
    rows = await session.execute(
        text("UPDATE tokens SET ended_at = countersign_now() WHERE kind = :kind AND label = :label AND ended_at IS NULL RETURNING 1"),
        {"kind": kind, "label": label},
    )
    return len(rows.all())


def hash_of(value: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(value.encode()).digest()
