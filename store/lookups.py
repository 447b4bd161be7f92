"""Look-ups in the journal: a row of its own beside the call that is asked about, taken again as often as anybody asks."""

from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from .databases import ReadSession, WriteSession
from .journals import FENCE, LostClaim, Phase, StepKey, values_of

_BEGIN: Final = text(f"""
INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker)
SELECT :run_id, :revision, :position, 'lookup', :name, 'calling', :attempt, :worker WHERE {FENCE}
ON CONFLICT (run_id, revision, position, phase) DO UPDATE
SET name = excluded.name, state = 'calling', attempt = excluded.attempt, worker = excluded.worker, started_at = countersign_now(),
    ended_at = NULL, error = '', result = NULL, progress = NULL, tries = steps.tries + 1
RETURNING 1
""")
_END: Final = text(f"""
WITH looked AS (UPDATE steps SET state = 'done', ended_at = countersign_now(), result = to_jsonb(cast(:said AS text)), error = :error
                WHERE run_id = :run_id AND revision = :revision AND position = :position AND phase = 'lookup' AND attempt = :attempt
                  AND {FENCE} RETURNING run_id, name),
settled AS (UPDATE steps SET state = :state, ended_at = countersign_now(), result = cast(:result AS jsonb)
            WHERE run_id = :run_id AND revision = :revision AND position = :position AND phase = :phase AND state = 'calling'
              AND cast(:state AS text) IS NOT NULL AND EXISTS (SELECT FROM looked)),
noted AS (INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'step:looked_up',
          'actor', 'countersign', 'run', run_id, 'detail', jsonb_strip_nulls(jsonb_build_object('step', name,
          'position', cast(:position AS int), 'phase', cast(:phase AS text), 'attempt', cast(:attempt AS int),
          'asked', cast(:title AS text), 'said', cast(:said AS text), 'error', nullif(cast(:error AS text), ''))))::text FROM looked)
SELECT 1 FROM looked
""")  # noqa: S608  built from constants


# A worker notes itself when it has taken the place of one that its supervisor saw die.
_GONE: Final = text("""
SELECT EXISTS (SELECT FROM workers k WHERE starts_with(k.name, :place) AND k.name <> :worker
               AND k.started_at > (SELECT max(s.started_at) FROM steps s WHERE s.run_id = :run_id AND s.worker = :worker))
""")


async def begin_lookup(session: WriteSession, asked: StepKey, *, name: str, worker: str) -> None:
    """Records that somebody asks about the call; raises LostClaim."""
    if (await session.execute(_BEGIN, values_of(asked) | {"name": name, "worker": worker})).first() is None:
        raise LostClaim


async def is_gone(session: ReadSession, run_id: UUID, *, worker: str) -> bool:
    """Whether the worker that made calls of this run has surely died: one that is only out of reach, or stopped, may go on with them."""
    values = {"run_id": run_id, "worker": worker, "place": worker.rpartition(":")[0] + ":"}
    return bool((await session.execute(_GONE, values)).scalar_one())


async def end_lookup(
    session: WriteSession, asked: StepKey, *, title: str, said: str, error: str = "", state: str | None = None, result: Any = None
) -> None:
    """What the other side said, told in the audit; with a `state` the call that was in doubt has it from now on. Raises LostClaim."""
    told = None if result is None else Jsonb(result)
    values = values_of(asked) | {"title": title, "said": said, "error": error, "state": state, "result": told}
    if (await session.execute(_END, values)).first() is None:
        raise LostClaim


def key_of_lookup(asked: StepKey) -> StepKey:
    """The row in which the look-up is."""
    return StepKey(asked.run_id, asked.revision, asked.position, Phase.lookup, asked.attempt)
