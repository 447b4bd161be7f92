"""A run's log, in chunks of lines: one row for what a step wrote in a quarter of a second, not one for each line."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from .bases import Base, Stamp
from .databases import ReadSession, WriteSession
from .journals import FENCE, LostClaim, StepKey

LOG_LINES_KEPT: Final = 10_000
LINES_A_CHUNK: Final = 1_000
LETTERS_A_CHUNK: Final = 256_000


class LogChunkRow(Base):
    """The i-th line of chunk n has the number n * 1000 + i, from which a reader goes on."""

    __tablename__ = "log_chunks"
    __table_args__ = (Index("ix_log_chunks_run_id", "run_id", "n"), Index("ix_log_chunks_at", "at", postgresql_using="brin"))

    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))
    position: Mapped[int]
    at: Mapped[Stamp]
    size: Mapped[int]
    lines: Mapped[list[str]] = mapped_column(ARRAY(Text))


@dataclass(frozen=True)
class LogLine:
    """One line, its number, the step that wrote it and when."""

    n: int
    position: int
    at: datetime
    line: str


_ADD = text(f"""
INSERT INTO log_chunks (run_id, position, size, lines)
SELECT :run_id, :position, cardinality(cast(:lines AS text[])), cast(:lines AS text[]) WHERE {FENCE} RETURNING 1
""")
_LAST = text("""
SELECT n, position, at, lines FROM (
  SELECT c.*, sum(size) OVER (ORDER BY n DESC) - size AS later FROM log_chunks c WHERE run_id = :run AND n >= :chunk) counted
WHERE later < :last ORDER BY n
""")
# Each chunk has a line, so no more of them than lines are looked at.
_LAST_OF_EACH = text("""
SELECT c.* FROM unnest(cast(:runs AS uuid[])) AS w (run) CROSS JOIN LATERAL (
  SELECT w.run, n, position, at, lines FROM log_chunks WHERE run_id = w.run ORDER BY n DESC LIMIT :last) AS c ORDER BY c.n
""")
_ON = text("""
SELECT n, position, at, lines FROM (
  SELECT c.*, sum(size) OVER (ORDER BY n) - size AS before FROM log_chunks c WHERE run_id = :run AND n >= :chunk) counted
WHERE before < :limit ORDER BY n
""")


_FORGET = text("""
WITH ended AS (SELECT DISTINCT r.id FROM log_chunks c JOIN runs r ON r.id = c.run_id
               WHERE c.at < countersign_now() - make_interval(days => :days) AND r.status = ANY(:finished)
                 AND r.moved_at < countersign_now() - make_interval(days => :days) AND NOT countersign_held(r) LIMIT :limit),
gone AS (DELETE FROM log_chunks c USING ended WHERE c.run_id = ended.id RETURNING c.run_id, c.size)
SELECT run_id, sum(size) AS lines FROM gone GROUP BY run_id
""")


async def add_lines(session: WriteSession, key: StepKey, lines: Sequence[str]) -> None:
    """Adds lines to the run's log; raises LostClaim when the claim has ended. `call_readers` then tells whoever follows it.

    Steps that write side by side do so one after the other, so that whoever has read up to a line has missed none before it.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(cast(:run AS text), 1))"), {"run": str(key.run_id)})
    for chunk in _chunks(lines):
        values: dict[str, Any] = {"run_id": key.run_id, "position": key.position, "attempt": key.attempt, "lines": chunk}
        if (await session.execute(_ADD, values)).first() is None:
            raise LostClaim


async def call_readers(session: WriteSession, run_id: UUID) -> None:
    """Says that there are more lines. Alone in its transaction it needs no disk, and so keeps nobody waiting who notifies too."""
    await session.execute(text("SELECT pg_notify('countersign_log', :run)"), {"run": str(run_id)})


async def find_lines(session: ReadSession, run_id: UUID, *, after: int = 0, last: int = 200) -> list[LogLine]:
    """At most `last` lines after line number `after`, oldest first."""
    rows = await session.execute(_LAST, {"run": run_id, "chunk": after // LINES_A_CHUNK, "last": last})
    return _lines(rows, after)[-last:] if last else []


async def find_last_lines(session: ReadSession, run_ids: Collection[UUID], *, last: int) -> dict[UUID, list[str]]:
    """What the log of each of these runs ends with, oldest first: at most `last` lines."""
    found: dict[UUID, list[str]] = {one: [] for one in run_ids}
    for row in await session.execute(_LAST_OF_EACH, {"runs": list(run_ids), "last": last}) if run_ids and last else ():
        found[row.run] += row.lines
    return {run_id: lines[-last:] for run_id, lines in found.items()}


async def read_on(session: ReadSession, run_id: UUID, *, after: int, limit: int) -> list[LogLine]:
    """The next lines after line number `after`, oldest first, at most `limit`: whoever reads on misses none."""
    # The chunk that was read last is counted again, so at most that many lines more are looked at.
    rows = await session.execute(_ON, {"run": run_id, "chunk": after // LINES_A_CHUNK, "limit": limit + LINES_A_CHUNK})
    return _lines(rows, after)[:limit]


async def forget_logs(session: WriteSession, *, days: int, finished: Sequence[str], limit: int) -> dict[UUID, int]:
    """Removes the logs of at most so many runs that ended more than so many days ago; returns how many lines each had."""
    rows = await session.execute(_FORGET, {"days": days, "finished": list(finished), "limit": limit})
    return {row.run_id: int(row.lines) for row in rows}


def _lines(rows: Any, after: int) -> list[LogLine]:
    found = (LogLine(row.n * LINES_A_CHUNK + i, row.position, row.at, line) for row in rows for i, line in enumerate(row.lines))
    return [one for one in found if one.n > after]


def _chunks(lines: Sequence[str]) -> list[list[str]]:
    """At most a thousand lines and a quarter of a million letters each; a line is shorter than that."""
    chunks: list[list[str]] = []
    letters = 0
    for line in lines:
        if not chunks or len(chunks[-1]) == LINES_A_CHUNK or letters + len(line) > LETTERS_A_CHUNK:
            chunks.append([])
            letters = 0
        chunks[-1].append(line)
        letters += len(line)
    return chunks
