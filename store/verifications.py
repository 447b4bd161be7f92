"""Verifications that somebody asked for: a row for each, which a housekeeper hands to the independent verifier."""

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from sqlalchemy import BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession, plain_url
from .settings import Settings

LONGEST: Final = 900.0
"""Seconds after which a verification that did not end is ended, or taken to have died."""
MOST_PROBLEMS: Final = 20


class AuditCheckRow(Base):
    """`problems` are the verifier's sentences; empty when all is well, or when it has not ended."""

    __tablename__ = "audit_checks"
    __table_args__ = (
        Index("ix_audit_checks_asked_at", "asked_at"),
        Index("ix_audit_checks_waiting", "asked_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[Identifier]
    asked_by: Mapped[str]
    asked_at: Mapped[Stamp]
    begun_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    rows: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    blocks: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    problems: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))


@dataclass(frozen=True)
class Chain:
    """How the record stands: its last block, what no block holds yet, how far the anchor file has come, the last verification.

    Times are in UTC. `anchored` is a block's number, 0 before the first.
    """

    last: int
    sealed_at: datetime | None
    key_id: str
    unsealed: int
    oldest: datetime | None
    anchored: int
    anchored_at: datetime | None
    check: AuditCheckRow | None


async def find_chain(session: ReadSession) -> Chain:
    """The record as it stands now."""
    row = (await session.execute(_CHAIN)).one()
    check = await find_check(session)
    return Chain(row.last or 0, row.sealed_at, row.key_id or "", row.unsealed, row.oldest, row.anchored, row.anchored_at, check)


async def find_check(session: ReadSession) -> AuditCheckRow | None:
    """The verification that was asked for last."""
    found = await session.execute(text("SELECT * FROM audit_checks ORDER BY asked_at DESC LIMIT 1"))
    row = found.first()
    return None if row is None else AuditCheckRow(**row._mapping)


async def ask_check(session: WriteSession, person: str) -> bool:
    """Asks for a verification; False when one is waiting or under way already."""
    asked = await session.execute(_ASK, {"id": new_id(), "person": person, "longest": LONGEST})
    return asked.first() is not None


async def take_check(session: WriteSession) -> UUID | None:
    """A verification that nobody has begun, or whose verifier died; it is this process's from the commit on."""
    found: UUID | None = (await session.execute(_TAKE, {"longest": LONGEST})).scalar_one_or_none()
    return found


async def end_check(session: WriteSession, check: UUID, *, rows: int, blocks: int, problems: list[str]) -> None:
    """What the verifier said."""
    await session.execute(
        text("UPDATE audit_checks SET ended_at = countersign_now(), rows = :rows, blocks = :blocks, problems = :problems WHERE id = :id"),
        {"id": check, "rows": rows, "blocks": blocks, "problems": Jsonb(problems[:MOST_PROBLEMS])},
    )


async def note_anchored(session: WriteSession, block: int) -> None:
    """The anchor file holds every block up to this one."""
    await session.execute(
        text("UPDATE audit_marks SET block = :block, noted_at = countersign_now() WHERE name = 'anchored' AND block < :block"),
        {"block": block},
    )


def verifier(
    settings: Settings, database: str, *, anchors: Path | None = None, public_key: Path | None = None
) -> tuple[list[str], dict[str, str]]:
    """The verifier's command line for this hub and its environment, which has the password: everybody can read a command line."""
    parts = conninfo_to_dict(plain_url(database))
    password = parts.pop("password", None)
    words = [
        sys.executable,
        "-P",
        "-m",
        "store.verify_audit",
        "--database",
        make_conninfo("", **parts),
        "--anchors",
        str(anchors or settings.anchor or settings.data_dir / "anchors" / "audit.jsonl"),
        "--public-key",
        str(public_key or settings.data_dir / "keys" / "audit.pub"),
    ]
    return words, dict(os.environ) | ({"PGPASSWORD": str(password)} if password else {})


_OPEN: Final = "ended_at IS NULL AND asked_at > countersign_now() - make_interval(secs => :longest)"
_ASK: Final = text(f"""
INSERT INTO audit_checks (id, asked_by) SELECT :id, :person WHERE NOT EXISTS (SELECT FROM audit_checks WHERE {_OPEN}) RETURNING id
""")  # noqa: S608  built from constants
_TAKE: Final = text(f"""
UPDATE audit_checks SET begun_at = countersign_now() WHERE id = (
    SELECT id FROM audit_checks WHERE {_OPEN} AND begun_at IS NULL ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id
""")  # noqa: S608  built from constants
_CHAIN: Final = text("""
SELECT b.n AS last, to_timestamp(b.sealed_us / 1000000.0) AS sealed_at, b.key_id,
       (SELECT count(*) FROM (SELECT FROM audit_unsealed LIMIT 10000) u) AS unsealed,
       (SELECT to_timestamp(min(at_us) / 1000000.0) FROM audit_unsealed) AS oldest,
       m.block AS anchored, CASE WHEN m.block > 0 THEN m.noted_at END AS anchored_at
FROM (SELECT * FROM audit_marks WHERE name = 'anchored') m
LEFT JOIN LATERAL (SELECT * FROM audit_blocks ORDER BY n DESC LIMIT 1) b ON true
""")
