"""Guards in the journal: a row of its own beside the step that is watched, due again at each look, so that it outlives any worker."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from .databases import WriteSession
from .journals import FENCE, LostClaim, StepKey, values_of


@dataclass(frozen=True)
class Guarding:
    """A guard that holds so far: seconds since it began, seconds until the next look, and how many looks failed in a row."""

    passed: float
    left: float
    failures: int


_TAKE: Final = text(f"""
INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker, tries, due_at)
SELECT :run_id, :revision, :position, :phase, :name, 'waiting', :attempt, :worker, 0, countersign_now() + :every * interval '1 second'
WHERE {FENCE}
ON CONFLICT (run_id, revision, position, phase) DO UPDATE SET attempt = excluded.attempt, worker = excluded.worker
WHERE steps.state = 'waiting'
RETURNING extract(epoch FROM countersign_now() - since) AS passed,
          greatest(0, extract(epoch FROM due_at - countersign_now())) AS left, tries AS failures
""")  # noqa: S608  built from constants
_NOTE: Final = text(f"""
UPDATE steps SET tries = :failures, error = :error, due_at = countersign_now() + :every * interval '1 second'
WHERE run_id = :run_id AND revision = :revision AND position = :position AND phase = :phase AND state = 'waiting' AND {FENCE} RETURNING 1
""")  # noqa: S608  built from constants


async def take_guard(session: WriteSession, key: StepKey, *, name: str, worker: str, every: float) -> Guarding:
    """Begins to watch, or goes on with it; the first look is due after `every` seconds. Raises LostClaim."""
    row = (await session.execute(_TAKE, values_of(key) | {"name": name, "worker": worker, "every": every})).first()
    if row is None:
        raise LostClaim
    return Guarding(float(row.passed), float(row.left), row.failures)


async def note_look(session: WriteSession, key: StepKey, *, failures: int, error: str, every: float) -> None:
    """A look was taken, and the guard holds so far; the next is due after `every` seconds. Raises LostClaim."""
    row = await session.execute(_NOTE, values_of(key) | {"failures": failures, "error": error, "every": every})
    if row.first() is None:
        raise LostClaim
