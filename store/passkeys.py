"""Passkeys: whose they are, which decisions they signed, and the challenges of enrolments. The web role may read keys, never write them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp
from .databases import ReadSession, WriteSession

CHALLENGE_SECONDS: Final = 600.0
MOST_CHALLENGES: Final = 20  # open ones a person; more is nobody at a keyboard


class PasskeyRow(Base):
    __tablename__ = "passkeys"
    __table_args__ = (Index("ix_passkeys_person", "person"),)

    id: Mapped[Identifier]
    credential: Mapped[bytes] = mapped_column(unique=True)
    data: Mapped[bytes]
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    label: Mapped[str]
    rp_id: Mapped[str]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    added_at: Mapped[Stamp]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]


class PasskeyUseRow(Base):
    __tablename__ = "passkey_uses"
    __table_args__ = (Index("uq_passkey_uses_count", "passkey_id", "sign_count", unique=True, postgresql_where=text("sign_count > 0")),)

    passkey_id: Mapped[UUID] = mapped_column(ForeignKey("passkeys.id"), primary_key=True)
    challenge: Mapped[bytes] = mapped_column(primary_key=True)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[Stamp]


class PasskeyChallengeRow(Base):
    __tablename__ = "passkey_challenges"
    __table_args__ = (Index("ix_passkey_challenges_person", "person", "made_at"),)

    challenge: Mapped[bytes] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("people.name"))
    made_at: Mapped[Stamp]
    spent_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Passkey:
    """One key: `data` is the attested credential data of WebAuthn (section 6.5.2) with the id and the public key in it."""

    id: UUID
    credential: bytes
    data: bytes
    person: str
    label: str
    rp_id: str
    sign_count: int
    added_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Use:
    """A decision that a passkey signed and a worker relied on."""

    passkey: UUID
    challenge: bytes
    sign_count: int
    at: datetime


@dataclass(frozen=True)
class NewPasskey:
    """A key about to be added; adding the same id again changes nothing."""

    id: UUID
    credential: bytes
    data: bytes
    person: str
    label: str
    rp_id: str
    sign_count: int
    run_id: UUID | None


async def add_passkey(session: WriteSession, one: NewPasskey) -> bool:
    """Adds the key; False when this id or this credential is there already, whoever's it is and revoked or not."""
    row = await session.execute(
        text(
            "INSERT INTO passkeys (id, credential, data, person, label, rp_id, sign_count, run_id)"
            " VALUES (:id, :credential, :data, :person, :label, :rp_id, :sign_count, :run_id) ON CONFLICT DO NOTHING RETURNING 1"
        ),
        one.__dict__,
    )
    return row.first() is not None


async def revoke_passkey(session: WriteSession, passkey: UUID, *, by: str) -> bool:
    """Ends a key for good; False when it was ended before."""
    row = await session.execute(
        text("UPDATE passkeys SET revoked_at = countersign_now(), revoked_by = :by WHERE id = :id AND revoked_at IS NULL RETURNING 1"),
        {"id": passkey, "by": by},
    )
    return row.first() is not None


_FIND: Final = "SELECT id, credential, data, person, label, rp_id, sign_count, added_at, revoked_at FROM passkeys"


async def find_passkeys(session: ReadSession, people: Collection[str], *, revoked: bool = False) -> list[Passkey]:
    """The keys of these people, the oldest first; revoked ones only if asked for."""
    ended = "" if revoked else " AND revoked_at IS NULL"
    rows = await session.execute(text(f"{_FIND} WHERE person = ANY(:people){ended} ORDER BY added_at, id"), {"people": list(people)})
    return [_passkey(row) for row in rows]


async def find_all_passkeys(session: ReadSession) -> list[Passkey]:
    """Every key in use, by person."""
    rows = await session.execute(text(f"{_FIND} WHERE revoked_at IS NULL ORDER BY person, added_at, id"))
    return [_passkey(row) for row in rows]


async def find_passkey(session: ReadSession, credential: bytes) -> Passkey | None:
    """The key with this credential id, revoked or not."""
    row = (await session.execute(text(f"{_FIND} WHERE credential = :credential"), {"credential": credential})).first()
    return _passkey(row) if row else None


async def find_holders(session: ReadSession) -> frozenset[str]:
    """Everybody who has a key in use."""
    rows = await session.execute(text("SELECT DISTINCT person FROM passkeys WHERE revoked_at IS NULL"))
    return frozenset(row.person for row in rows)


async def were_enrolled(session: ReadSession) -> bool:
    """Whether anybody ever had a key here: revoking the last one takes nothing back."""
    return bool((await session.execute(text("SELECT EXISTS (SELECT FROM passkeys)"))).scalar_one())


async def find_uses(session: ReadSession, passkeys: Collection[UUID]) -> list[Use]:
    """What these keys signed that was relied on."""
    rows = await session.execute(
        text("SELECT passkey_id, challenge, sign_count, used_at FROM passkey_uses WHERE passkey_id = ANY(:ids)"), {"ids": list(passkeys)}
    )
    return [Use(row.passkey_id, row.challenge, row.sign_count, row.used_at) for row in rows]


async def record_uses(session: WriteSession, uses: Sequence[tuple[UUID, bytes, int]]) -> bool:
    """Remembers (passkey, challenge, sign count) of proofs that are about to be relied on; the same again changes nothing.

    False when a sign count was used for another challenge meanwhile: the authenticator was copied, and nothing may rely on it.
    """
    for passkey, challenge, count in uses:
        values = {"passkey": passkey, "challenge": challenge, "count": count}
        row = await session.execute(
            text(
                "INSERT INTO passkey_uses (passkey_id, challenge, sign_count) VALUES (:passkey, :challenge, :count)"
                " ON CONFLICT DO NOTHING RETURNING 1"
            ),
            values,
        )
        if row.first() is None:
            same = await session.execute(
                text("SELECT 1 FROM passkey_uses WHERE passkey_id = :passkey AND challenge = :challenge AND sign_count = :count"), values
            )
            if same.first() is None:
                return False
    return True


async def add_challenge(session: WriteSession, challenge: bytes, *, person: str) -> bool:
    """Remembers an enrolment's challenge for ten minutes; False when this person has too many open ones."""
    row = await session.execute(
        text(
            "INSERT INTO passkey_challenges (challenge, person) SELECT :challenge, :person WHERE (SELECT count(*) FROM passkey_challenges"
            " WHERE person = :person AND spent_at IS NULL AND made_at > countersign_now() - cast(:life AS interval)) < :most RETURNING 1"
        ),
        {"challenge": challenge, "person": person, "life": f"{CHALLENGE_SECONDS} seconds", "most": MOST_CHALLENGES},
    )
    return row.first() is not None


async def spend_challenge(session: WriteSession, challenge: bytes, *, person: str) -> bool:
    """Uses a challenge up, once, within ten minutes, for the person it was made for."""
    row = await session.execute(
        text(
            "UPDATE passkey_challenges SET spent_at = countersign_now() WHERE challenge = :challenge AND person = :person"
            " AND spent_at IS NULL AND made_at > countersign_now() - cast(:life AS interval) RETURNING 1"
        ),
        {"challenge": challenge, "person": person, "life": f"{CHALLENGE_SECONDS} seconds"},
    )
    return row.first() is not None


async def forget_challenges(session: WriteSession) -> None:
    """Removes challenges that nobody can spend any more."""
    await session.execute(text("DELETE FROM passkey_challenges WHERE made_at < countersign_now() - interval '1 day'"))


def _passkey(row: Any) -> Passkey:
    return Passkey(row.id, row.credential, row.data, row.person, row.label, row.rp_id, row.sign_count, row.added_at, row.revoked_at)
