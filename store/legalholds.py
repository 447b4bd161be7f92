"""Legal holds: what they cover is neither erased nor forgotten until they are lifted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession


class LegalHoldRow(Base):
    """`kind` is `person`, `run` or `command`; `target` the name or the run's number."""

    __tablename__ = "legal_holds"
    __table_args__ = (
        CheckConstraint("kind IN ('person', 'run', 'command')", name="kind"),
        Index("uq_legal_holds_target", "kind", "target", unique=True, postgresql_where=text("lifted_at IS NULL")),
    )

    id: Mapped[Identifier]
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    kind: Mapped[str]
    target: Mapped[str]
    reason: Mapped[str]
    held_by: Mapped[str]
    held_at: Mapped[Stamp]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]


@dataclass(frozen=True)
class LegalHold:
    """A hold that has not been lifted; `at` is in UTC."""

    number: int
    kind: str
    target: str
    reason: str
    by: str
    at: datetime

    @property
    def sentence(self) -> str:
        """What it stops, as people read it."""
        return f"{self.kind} {self.target} is under legal hold since {self.at:%Y-%m-%d}, set by {self.by}: {self.reason}"


async def place_hold(session: WriteSession, *, kind: str, target: str, reason: str, by: str, run: UUID) -> bool:
    """Holds it from now on; False when it is held already."""
    values = {"id": new_id(), "kind": kind, "target": target, "reason": reason, "by": by, "run": run}
    return (await session.execute(_PLACE, values)).first() is not None


async def lift_hold(session: WriteSession, *, kind: str, target: str, by: str) -> bool:
    """Lifts it; False when there is none. What was due to be forgotten meanwhile is looked for again from the beginning."""
    lifted = (await session.execute(_LIFT, {"kind": kind, "target": target, "by": by})).first()
    return lifted is not None


async def find_holds(session: ReadSession) -> Sequence[LegalHold]:
    """Those that have not been lifted, oldest first."""
    return [LegalHold(*row) for row in await session.execute(_ALL)]


async def find_holds_over(session: ReadSession, person: str) -> Sequence[LegalHold]:
    """Those that keep this person from being erased: on the person, or on a run or command that the person asked for or decided on."""
    return [LegalHold(*row) for row in await session.execute(_OVER, {"person": person})]


_SHOWN: Final = "h.number, h.kind, h.target, h.reason, h.held_by, h.held_at"
_PLACE: Final = text("""
INSERT INTO legal_holds (id, kind, target, reason, held_by, run_id) VALUES (:id, :kind, :target, :reason, :by, :run)
ON CONFLICT (kind, target) WHERE lifted_at IS NULL DO NOTHING RETURNING 1
""")
_LIFT: Final = text("""
WITH again AS (UPDATE audit_marks SET block = 0 WHERE name = 'forgotten')
UPDATE legal_holds SET lifted_at = countersign_now(), lifted_by = :by WHERE kind = :kind AND target = :target AND lifted_at IS NULL
RETURNING 1
""")
_ALL: Final = text(f"SELECT {_SHOWN} FROM legal_holds h WHERE h.lifted_at IS NULL ORDER BY h.number")  # noqa: S608  built from constants
_OVER: Final = text(f"""
SELECT {_SHOWN} FROM legal_holds h WHERE h.lifted_at IS NULL AND CASE h.kind WHEN 'person' THEN h.target = :person ELSE EXISTS (
    SELECT FROM (SELECT number, command FROM countersign_runs_about(:person) UNION SELECT r.number, r.command FROM decisions d
        JOIN runs r ON r.id = d.run_id WHERE :person IN (d.person, d.on_behalf)) a
    WHERE CASE h.kind WHEN 'run' THEN h.target = a.number::text ELSE h.target = a.command END) END ORDER BY h.number
""")  # noqa: S608  built from constants
