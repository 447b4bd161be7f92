"""Files that the steps of runs left: a row for each, written before its bytes are, so that no bytes are ever without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, select, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Identifier, Stamp, new_id
from .databases import ReadSession, WriteSession
from .journals import FENCE, LostClaim, StepKey

RUN_BYTES: Final = 256 * 1024 * 1024
RUN_COUNT: Final = 200
# A download that has begun ends before its bytes go; bytes that are being written get longer.
DROPPED_HOURS: Final = 1
UNSTORED_HOURS: Final = 24


class ArtifactRow(Base):
    """`stored_at`: its bytes are there. `dropped_at`: it is not to be seen any more, and its bytes go soon."""

    __tablename__ = "artifacts"
    __table_args__ = (
        Index("ix_artifacts_run_id", "run_id", "name"),
        Index("ix_artifacts_dropped_at", "dropped_at", postgresql_where=text("dropped_at IS NOT NULL")),
        Index("ix_artifacts_at", "at", postgresql_where=text("stored_at IS NULL")),
        Index("uq_artifacts_run_id", "run_id", "name", unique=True, postgresql_where=text("stored_at IS NOT NULL AND dropped_at IS NULL")),
    )

    id: Mapped[Identifier]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    position: Mapped[int]
    name: Mapped[str]
    content_type: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    at: Mapped[Stamp]
    stored_at: Mapped[datetime | None]
    dropped_at: Mapped[datetime | None]

    @property
    def key(self) -> str:
        """Where its bytes are."""
        return key_of(self.run_id, self.id)

    @property
    def sized(self) -> str:
        """How many bytes it has, for people."""
        if self.size < 1_024:
            return f"{self.size} bytes"
        return f"{self.size / 1_024:.0f} KiB" if self.size < 1_024**2 else f"{self.size / 1_024**2:.1f} MiB"


@dataclass(frozen=True)
class NewArtifact:
    name: str
    content_type: str
    size: int
    sha256: str


class RunIsFull(Exception):
    """The run has as many files, or as many bytes of them, as it may; says so in a sentence."""


_HELD = text("SELECT pg_advisory_xact_lock(hashtextextended(cast(:run AS text), 2))")
_OTHERS = text("""
SELECT count(*) AS files, coalesce(sum(size), 0) AS bytes,
       coalesce(bool_or(stored_at IS NOT NULL AND name = :name AND sha256 = :sha256 AND content_type = :content_type), false) AS same
FROM artifacts WHERE run_id = :run AND dropped_at IS NULL
""")
_BEGIN = text(f"""
INSERT INTO artifacts (id, run_id, position, name, content_type, size, sha256)
SELECT :id, :run_id, :position, :name, :content_type, :size, :sha256 WHERE {FENCE} RETURNING id
""")
_DROP = text(
    "UPDATE artifacts SET dropped_at = countersign_now() WHERE run_id = :run AND name = :name AND dropped_at IS NULL AND id <> :id"
)
_STORED = text(f"UPDATE artifacts SET stored_at = countersign_now() WHERE id = :id AND {FENCE} RETURNING id")  # noqa: S608  built from constants
_OLD = text("""
UPDATE artifacts SET dropped_at = countersign_now() WHERE id IN (
  SELECT a.id FROM artifacts a JOIN runs r ON r.id = a.run_id
  WHERE a.dropped_at IS NULL AND a.stored_at < countersign_now() - make_interval(days => :days) AND r.status = ANY(:finished)
    AND r.moved_at < countersign_now() - make_interval(days => :days) AND NOT countersign_held(r) LIMIT :limit FOR UPDATE OF a SKIP LOCKED)
RETURNING run_id, name
""")
_GONE = text(f"""
SELECT id, run_id FROM artifacts WHERE dropped_at < countersign_now() - interval '{DROPPED_HOURS} hours'
UNION ALL SELECT id, run_id FROM artifacts WHERE stored_at IS NULL AND dropped_at IS NULL
  AND at < countersign_now() - interval '{UNSTORED_HOURS} hours'
LIMIT :limit
""")  # noqa: S608  built from constants


def key_of(run_id: UUID, id_: UUID) -> str:
    return f"{run_id}/{id_}"


async def begin_artifact(session: WriteSession, key: StepKey, new: NewArtifact) -> UUID | None:
    """The id under which its bytes are to be put, or None when the very same file is there already.

    Raises RunIsFull, and LostClaim when the claim has ended. Steps side by side do it one after the other, and keep the limits together.
    """
    await session.execute(_HELD, {"run": str(key.run_id)})
    asked = {"run": key.run_id, "name": new.name, "sha256": new.sha256, "content_type": new.content_type}
    others = (await session.execute(_OTHERS, asked)).one()
    if others.same:
        return None
    if others.files >= RUN_COUNT:
        raise RunIsFull(f"a run keeps at most {RUN_COUNT} files")
    if others.bytes + new.size > RUN_BYTES:
        raise RunIsFull(f"the files of a run have at most {RUN_BYTES // 1024**2} MiB together")
    values: dict[str, Any] = vars(new) | {"id": new_id(), "run_id": key.run_id, "position": key.position, "attempt": key.attempt}
    if (await session.execute(_BEGIN, values)).first() is None:
        raise LostClaim
    return UUID(str(values["id"]))


async def note_stored(session: WriteSession, key: StepKey, id_: UUID, name: str) -> None:
    """Its bytes are there: from now on it is what this name means in the run. Raises LostClaim when the claim has ended."""
    await session.execute(_HELD, {"run": str(key.run_id)})
    await session.execute(_DROP, {"run": key.run_id, "name": name, "id": id_})
    if (await session.execute(_STORED, {"id": id_, "run_id": key.run_id, "attempt": key.attempt})).first() is None:
        raise LostClaim


async def find_artifacts(session: ReadSession, run_id: UUID) -> Sequence[ArtifactRow]:
    """The files of a run, by name."""
    return (await session.scalars(_kept(run_id).order_by(ArtifactRow.name))).all()


async def find_artifact(session: ReadSession, run_id: UUID, name: str) -> ArtifactRow | None:
    """The file of this name."""
    return (await session.scalars(_kept(run_id).where(ArtifactRow.name == name))).first()


async def drop_artifacts(session: WriteSession, *, days: int, finished: Sequence[str], limit: int) -> dict[UUID, list[str]]:
    """Drops at most so many files of runs that ended more than so many days ago; returns their names by run."""
    dropped: dict[UUID, list[str]] = {}
    for row in await session.execute(_OLD, {"days": days, "finished": list(finished), "limit": limit}):
        dropped.setdefault(row.run_id, []).append(row.name)
    return dropped


async def find_leftovers(session: ReadSession, *, limit: int) -> list[tuple[UUID, str]]:
    """Ids and keys of files whose bytes may go: dropped ones, and ones whose bytes never came."""
    return [(row.id, key_of(row.run_id, row.id)) for row in await session.execute(_GONE, {"limit": limit})]


async def forget_artifacts(session: WriteSession, ids: Sequence[UUID]) -> None:
    """Removes the rows of files whose bytes are gone."""
    await session.execute(text("DELETE FROM artifacts WHERE id = ANY(:ids)"), {"ids": list(ids)})


def _kept(run_id: UUID) -> Any:
    return select(ArtifactRow).where(ArtifactRow.run_id == run_id, ArtifactRow.stored_at.is_not(None), ArtifactRow.dropped_at.is_(None))
