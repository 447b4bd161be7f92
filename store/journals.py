"""The step journal, intent before effect, and run logs. Every write is fenced by the attempt of the worker that makes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb
from sqlalchemy import ForeignKey, Uuid, any_, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base, Stamp
from .databases import ReadSession, WriteDriver, WriteSession, driver_under
from .drivers import plain
from .messages import Priority, telling
from .people import Person, people_named, person_of

START: Final = -1  # the position of the mark that says that carrying out began


class StepState(StrEnum):
    """`waiting`: nothing is under way; it is begun, or looked at, again when it is due."""

    calling = "calling"
    waiting = "waiting"
    done = "done"
    failed = "failed"
    not_done = "not_done"


class Phase(StrEnum):
    do = "do"
    undo = "undo"
    guard = "guard"
    lookup = "lookup"


class StepRow(Base):
    """The latest try of a step: its number, when the first of them began (`since`), and how the `earlier` ones ended."""

    __tablename__ = "steps"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[str]
    attempt: Mapped[int]
    worker: Mapped[str]
    started_at: Mapped[Stamp]
    ended_at: Mapped[datetime | None]
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[str] = mapped_column(server_default=text("''"))
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    tries: Mapped[int] = mapped_column(server_default=text("1"))
    since: Mapped[Stamp]
    due_at: Mapped[datetime | None]
    earlier: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))

    @property
    def deaths(self) -> int:
        """How many workers have died in this call, one after the other: those that died before they made it are not counted."""
        if self.phase == Phase.lookup:  # keeps no earlier tries
            return self.tries if self.state == StepState.calling else 0
        states = [one["state"] for one in self.earlier] + [self.state]
        return len(list(takewhile(StepState.calling.__eq__, (one for one in reversed(states) if one != StepState.not_done))))


class LostClaim(Exception):
    """The worker's claim on the run has ended, so nothing more may be written for it."""


@dataclass(frozen=True)
class StepKey:
    """One step of one revision of a run in one phase, and the attempt under which it is carried out."""

    run_id: UUID
    revision: int
    position: int
    phase: Phase
    attempt: int


FENCE: Final = "EXISTS (SELECT FROM runs r WHERE r.id = :run_id AND r.attempt = :attempt AND r.worker IS NOT NULL FOR SHARE)"
# What was found when somebody last looked whether the run may go on has to be so still, or else one has to look again.
UNCHANGED: Final = f"""EXISTS (SELECT FROM runs r WHERE r.id = :run_id AND r.cancelled_by IS NULL AND r.paused_by IS NULL)
 AND NOT EXISTS (SELECT FROM switches WHERE off_at IS NULL)
 AND EXISTS (SELECT FROM policies WHERE in_force AND digest = :policy)
 AND :asker = (SELECT row_to_json(a)::text FROM ({people_named("SELECT asker FROM runs WHERE id = :run_id")}) a)"""  # noqa: S608
# The same begin once more, because its first answer was lost, or because it had to wait before it did anything: no other try.
_AGAIN: Final = "(steps.state = 'calling' AND steps.attempt = excluded.attempt) OR (steps.state = 'waiting' AND steps.due_at IS NULL)"
BEGIN: Final = f"""
INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker) {{chosen}}
ON CONFLICT (run_id, revision, position, phase) DO UPDATE
SET state = 'calling', attempt = excluded.attempt, worker = excluded.worker, started_at = countersign_now(), ended_at = NULL, error = '',
    due_at = NULL,
    tries = CASE WHEN {_AGAIN} THEN steps.tries WHEN steps.state IN ('calling', 'waiting') THEN steps.tries + 1 ELSE 1 END,
    since = CASE WHEN steps.state IN ('calling', 'waiting') THEN steps.since ELSE countersign_now() END,
    earlier = CASE WHEN {_AGAIN} THEN steps.earlier ELSE steps.earlier || jsonb_build_array(jsonb_build_object(
              'started_at', steps.started_at, 'ended_at', steps.ended_at, 'worker', steps.worker, 'state', steps.state,
              'error', steps.error)) END
WHERE steps.state <> 'done' RETURNING steps.*, extract(epoch FROM countersign_now() - since) AS seconds
"""
"""Records the intent to call each of the steps that are `chosen`, unless it is done; what was there of it becomes an earlier try."""
NOTED_END: Final = """
INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'step:' || e.state, 'actor', 'countersign',
       'run', e.run_id, 'detail', jsonb_strip_nulls(jsonb_build_object('step', e.name, 'position', e.position, 'phase', e.phase,
       'attempt', e.attempt, 'try', nullif(e.tries, 1), 'again_in', e.wait, 'error', nullif(e.error, ''))))::text
FROM ended e"""
"""The audit of the steps that a statement has `ended`, each with the seconds that it is to `wait`."""
_ENDED: Final = f"""
ended AS (UPDATE steps SET state = :state, ended_at = countersign_now(), result = cast(:result AS jsonb), error = :error,
                 due_at = countersign_now() + cast(:wait AS float) * interval '1 second'
          WHERE run_id = :run_id AND revision = :revision AND position = :ended AND phase = :ended_phase AND attempt = :attempt
            AND {FENCE} AND NOT (state = :state AND ended_at IS NOT NULL) RETURNING steps.*, cast(:wait AS float) AS wait),
noted AS ({NOTED_END}),
known AS (SELECT 1 FROM ended UNION ALL SELECT 1 FROM steps WHERE run_id = :run_id AND revision = :revision AND position = :ended
          AND phase = :ended_phase AND attempt = :attempt AND state = :state AND ended_at IS NOT NULL)
"""  # noqa: S608  built from constants
_CHOSEN: Final = f"SELECT :run_id, :revision, :position, :phase, :name, 'calling', :attempt, :worker WHERE {FENCE}"
_TRIES: Final = "SELECT tries, seconds FROM begun"
_BEGIN_CLAIMED: Final = plain(text(f"WITH begun AS ({BEGIN.format(chosen=_CHOSEN)}) {_TRIES}"))
_BEGIN_UNCHANGED: Final = plain(text(f"WITH begun AS ({BEGIN.format(chosen=f'{_CHOSEN} AND {UNCHANGED}')}) {_TRIES}"))
_END_AND_BEGIN: Final = plain(
    text(  # built from constants
        f"WITH {_ENDED}, begun AS ({BEGIN.format(chosen=f'{_CHOSEN} AND EXISTS (SELECT FROM known) AND {UNCHANGED}')})"  # noqa: S608
        " SELECT b.tries, b.seconds FROM known LEFT JOIN begun b ON true"
    )
)
END_PLAIN: Final = plain(text(f"WITH {_ENDED} SELECT 1 FROM known"))  # noqa: S608  built from constants
"""What `end_step` does, for a process that has no session yet."""
_PROGRESS = text(f"""
UPDATE steps SET progress = cast(:progress AS jsonb) WHERE run_id = :run_id AND revision = :revision AND position = :position
AND phase = :phase AND attempt = :attempt AND {FENCE} RETURNING 1
""")  # noqa: S608  built from constants
_ADOPT = text(f"""
UPDATE steps SET attempt = :attempt, worker = :worker WHERE run_id = :run_id AND revision = :revision AND position = :position
AND phase = :phase AND state = 'waiting' AND {FENCE} RETURNING 1
""")  # noqa: S608  built from constants


@dataclass(frozen=True)
class Bearing:
    """What a run has to be looked at for before its next step: it is compared by the statement that begins the step.

    `cancelled_by` asked to stop it, `paused_by` to let it wait. `asker` and `policy` are who asks and the policy in force at that
    moment, for comparison; `seconds` have passed since carrying out began.
    """

    cancelled_by: str | None
    paused_by: str | None
    policy: str
    asker: str
    person: Person
    seconds: float


@dataclass(frozen=True)
class Begun:
    """The number of the try that has begun, and how many seconds ago the first one did."""

    tries: int
    seconds: float


_BEARING = text(f"""
SELECT r.cancelled_by, r.paused_by, (SELECT digest FROM policies WHERE in_force) AS policy, row_to_json(a)::text AS asker,
       row_to_json(a) AS person, (SELECT extract(epoch FROM countersign_now() - s.started_at) FROM steps s
       WHERE s.run_id = r.id AND s.revision = r.revision AND s.position = -1) AS seconds
FROM runs r JOIN LATERAL ({people_named("SELECT r.asker")}) a ON true WHERE r.id = :run_id
""")  # noqa: S608  built from constants


async def find_bearing(session: ReadSession, run_id: UUID) -> Bearing:
    """How things stand with a run that is under way."""
    row = (await session.execute(_BEARING, {"run_id": run_id})).one()
    return Bearing(
        row.cancelled_by, row.paused_by, row.policy or "", row.asker, person_of(SimpleNamespace(**row.person)), float(row.seconds or 0)
    )


@dataclass(frozen=True)
class Finished:
    """A step that is done, which nothing says yet: the beginning of the step after it does."""

    key: StepKey
    result: Any


async def begin_step(through: WriteSession | WriteDriver, key: StepKey, *, name: str, worker: str) -> Begun:
    """Records the intent to call; raises LostClaim when the worker's claim has ended or the step is done already.

    This and what follows raise the driver's own errors.
    """
    row = await _first(through, _BEGIN_CLAIMED, values_of(key) | {"name": name, "worker": worker})
    if row is None:
        raise LostClaim
    return Begun(row[0], float(row[1]))


async def begin_step_unchanged(
    through: WriteSession | WriteDriver, key: StepKey, bearing: Bearing, *, name: str, worker: str, after: Finished | None = None
) -> Begun | None:
    """The same in one statement with a look at what has changed since: None when something has, or the claim has ended.

    Nobody has cancelled, no kill switch is on, and the policy in force and the asker are those of `bearing`. That the step before it
    is done is recorded by the same statement, and whatever has changed; then it raises LostClaim when the claim has ended.
    """
    values = values_of(key) | {"name": name, "worker": worker, "policy": bearing.policy, "asker": bearing.asker}
    if after is None:
        row = await _first(through, _BEGIN_UNCHANGED, values)
    elif (row := await _first(through, _END_AND_BEGIN, values | end_of(after.key, StepState.done, after.result, "", None))) is None:
        raise LostClaim
    return Begun(row[0], float(row[1])) if row and row[0] is not None else None


async def end_step(
    through: WriteSession | WriteDriver,
    key: StepKey,
    *,
    state: StepState,
    result: Any = None,
    error: str = "",
    wait: float | None = None,
) -> None:
    """Records how the call ended, and in how many seconds it is due again if it waits; raises LostClaim when the claim has ended.

    Said a second time, because the first answer was lost, it changes nothing.
    """
    if await _first(through, END_PLAIN, values_of(key) | end_of(key, state, result, error, wait)) is None:
        raise LostClaim


def end_of(key: StepKey, state: StepState, result: Any, error: str, wait: float | None) -> dict[str, Any]:
    """The end of a call as parameters of `END_PLAIN`, beside those of its key."""
    told = None if result is None else Jsonb(result)
    return {"ended": key.position, "ended_phase": key.phase, "state": state, "result": told, "error": error, "wait": wait}


async def _first(through: WriteSession | WriteDriver, statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
    async with (await driver_under(through)).cursor(row_factory=tuple_row) as cursor:
        return await (await cursor.execute(statement, values)).fetchone()


async def note_progress(session: WriteSession, key: StepKey, progress: dict[str, Any]) -> None:
    """Keeps the latest progress and makes the run's messages current at most every 2 s; raises LostClaim when the claim has ended."""
    row = await session.execute(_PROGRESS, values_of(key) | {"progress": Jsonb(progress)})
    if row.first() is None:
        raise LostClaim
    await session.execute(
        text(
            f"UPDATE messages m SET {telling(Priority.progress, soon=False)} WHERE m.run_id = :run_id AND m.kind <> 'reply'"  # noqa: S608
        ),
        {"run_id": key.run_id},
    )


async def find_wait(session: ReadSession, key: StepKey) -> float:
    """Seconds until a step that waits is due."""
    row = await session.execute(
        text(
            "SELECT greatest(0, extract(epoch FROM due_at - countersign_now())) FROM steps WHERE run_id = :run_id"
            " AND revision = :revision AND position = :position AND phase = :phase"
        ),
        values_of(key),
    )
    return float(row.scalar_one_or_none() or 0)


async def settle_steps(
    session: WriteSession, run_id: UUID, *, revision: int, phase: Phase, positions: Sequence[int], happened: bool
) -> bool:
    """A person's word on the steps that were in flight: they happened, or they did not. False when none of them is in doubt."""
    row = await session.execute(
        text(
            "UPDATE steps SET state = :state, ended_at = countersign_now() WHERE run_id = :run AND revision = :revision"
            " AND phase = :phase AND position = ANY(:positions) AND state IN ('calling', 'failed') RETURNING 1"
        ),
        {
            "run": run_id,
            "revision": revision,
            "phase": phase,
            "positions": list(positions),
            "state": StepState.done if happened else StepState.not_done,
        },
    )
    return row.first() is not None


async def mark_start(
    session: WriteSession, run_id: UUID, *, revision: int, attempt: int, worker: str, digest: str, target: str = ""
) -> None:
    """A worker's word that it checked everything and began to carry out exactly this digest, on this target if it has one.

    Only workers may write the journal.
    """
    await session.execute(
        text(
            "WITH aimed AS (INSERT INTO targets (run_id, target) SELECT :run, :target WHERE :target <> '' ON CONFLICT DO NOTHING)"
            " INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker, ended_at, result) VALUES"
            " (:run, :revision, :position, 'do', 'start', 'done', :attempt, :worker, countersign_now(), to_jsonb(cast(:digest AS text)))"
            " ON CONFLICT DO NOTHING"
        ),
        {
            "run": run_id,
            "revision": revision,
            "position": START,
            "attempt": attempt,
            "worker": worker,
            "digest": digest,
            "target": target,
        },
    )


async def find_start(session: ReadSession, run_id: UUID, *, revision: int) -> str | None:
    """The digest that a worker began to carry out; None when none did."""
    row = await session.execute(
        text("SELECT result FROM steps WHERE run_id = :run AND revision = :revision AND position = :position"),
        {"run": run_id, "revision": revision, "position": START},
    )
    return row.scalar_one_or_none()


async def find_steps(session: ReadSession, run_id: UUID, *, revision: int) -> list[StepRow]:
    """The journal of one revision, in the order the calls were begun."""
    return (await find_journals(session, {run_id: revision}))[run_id]


async def find_journals(session: ReadSession, revisions: Mapping[UUID, int]) -> dict[UUID, list[StepRow]]:
    """The same for several runs, of each the revision that is asked for."""
    found: dict[UUID, list[StepRow]] = {one: [] for one in revisions}
    if not found:
        return found
    of_these = StepRow.run_id == any_(literal(list(revisions), ARRAY(Uuid)))
    query = select(StepRow).where(of_these, StepRow.position > START).order_by(StepRow.started_at, StepRow.position)
    for row in await session.scalars(query.execution_options(populate_existing=True)):
        if row.revision == revisions[row.run_id]:
            found[row.run_id].append(row)
    return found


async def adopt_step(session: WriteSession, key: StepKey, *, worker: str) -> None:
    """Takes over a step that waits from the worker before; raises LostClaim when the claim has ended."""
    row = await session.execute(_ADOPT, values_of(key) | {"worker": worker})
    if row.first() is None:
        raise LostClaim


def values_of(key: StepKey) -> dict[str, Any]:
    """The key as parameters of a statement that is fenced by `FENCE`."""
    return {
        "run_id": key.run_id,
        "revision": key.revision,
        "position": key.position,
        "phase": key.phase,
        "attempt": key.attempt,
    }
