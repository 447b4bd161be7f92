"""What is known of calls beside the journal: by the words of a dead worker, or of one that was given up and lives."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import text

from countersign.runs import RunStatus

from .databases import WriteSession
from .drivers import plain
from .journals import END_PLAIN, Phase, StepKey, StepState, end_of, values_of
from .runs import Move, lock_run, move

LATE: Final = "its worker was late, and says how the call ended"
_FLYING: Final = plain(
    text("""
SELECT s.run_id, s.revision, s.position, s.phase, s.attempt FROM runs r JOIN steps s ON s.run_id = r.id AND s.revision = r.revision
WHERE r.worker = :worker AND r.lease_until IS NOT NULL AND s.worker = :worker AND s.attempt = r.attempt AND s.state = 'calling'
""")
)
_LATE: Final = text("""
SELECT position, phase FROM steps WHERE run_id = :run_id AND revision = :revision AND worker = :worker AND attempt = :attempt
AND state = 'calling'
""")
_OTHERS: Final = text("SELECT 1 FROM steps WHERE run_id = :run_id AND revision = :revision AND state = 'calling' LIMIT 1")
_TESTIFY: Final = text("""
WITH ended AS (UPDATE steps SET state = :state, ended_at = countersign_now(), result = cast(:result AS jsonb), error = :error,
               due_at = countersign_now() + cast(:wait AS float) * interval '1 second'
               WHERE run_id = :run_id AND revision = :revision AND position = :position AND phase = :phase AND attempt = :attempt
               AND state = 'calling' RETURNING run_id, name)
INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'step:' || cast(:state AS text),
       'actor', 'countersign', 'run', run_id, 'detail', jsonb_strip_nulls(jsonb_build_object('step', name,
       'position', cast(:position AS int), 'phase', cast(:phase AS text), 'attempt', cast(:attempt AS int), 'late', true,
       'error', nullif(cast(:error AS text), ''))))::text FROM ended
""")


def take_last_words(connection: psycopg.Connection[Any], worker: str, calls: Mapping[StepKey, Mapping[str, Any] | None]) -> tuple[int, int]:
    """Settles the calls that a dead worker had begun: those that it had not made, and those whose end it knew.

    Returns how many there were of each. Raises psycopg.Error; said a second time it changes nothing.
    """
    connection.row_factory = psycopg.rows.tuple_row
    not_made = ended = 0
    for run_id, revision, position, phase, attempt in connection.execute(_FLYING, {"worker": worker}).fetchall():
        key = StepKey(run_id, revision, position, Phase(phase), attempt)
        if key not in calls:
            not_made += 1
            connection.execute(END_PLAIN, values_of(key) | end_of(key, StepState.not_done, None, "", None))
        elif (end := calls[key]) is not None:
            ended += 1
            connection.execute(END_PLAIN, values_of(key) | end_of(key, **end))
    return not_made, ended


async def testify(session: WriteSession, run_id: UUID, worker: str, ended: Mapping[StepKey, Mapping[str, Any]]) -> bool:
    """Writes how calls ended that were in doubt, because their worker had been given up; the run goes on if no doubt is left.

    Whether there is nothing left to say: not while another worker has the run and has not decided what to make of it.
    """
    run = await lock_run(session, run_id)
    wanted = [key for key in ended if run is not None and key.revision == run.revision]
    if run is None or not wanted:
        return True
    flying = {(row.position, row.phase) for row in await session.execute(_LATE, values_of(wanted[0]) | {"worker": worker})}
    wanted = [key for key in wanted if (key.position, key.phase) in flying]
    if not wanted or run.status != RunStatus.interrupted:
        return not wanted or run.worker is None
    await _write(session, wanted, ended)
    if (await session.execute(_OTHERS, values_of(wanted[0]))).first() is None:
        await move(session, [Move(run_id, RunStatus.running, by="countersign", because=LATE, come_from=(RunStatus.interrupted,))])
    return True


async def _write(session: WriteSession, keys: Sequence[StepKey], ended: Mapping[StepKey, Mapping[str, Any]]) -> None:
    for key in keys:
        end = end_of(key, **ended[key])
        await session.execute(_TESTIFY, values_of(key) | {name: end[name] for name in ("state", "result", "error", "wait")})
