"""A worker takes a run whole, begins to carry it out, goes from a step to the next, and ends with the last one; one statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import text

from countersign.runs import RunId, RunStatus

from .claims import CLAIMED, Claim
from .databases import WriteDriver
from .drivers import plain
from .journals import BEGIN, FENCE, NOTED_END, START, UNCHANGED, Bearing, Begun, Finished, StepKey
from .people import people_named, person_of
from .runs import MOVED_UNTOLD, Move, RunRow, moving, run_of

_TAKE: Final = plain(
    text(f"""{CLAIMED},
askers AS ({people_named("SELECT (whole).asker FROM held")})
SELECT (h.whole).*, countersign_now() AS at, row_to_json(a)::text AS asker_text, row_to_json(a) AS person,
       (SELECT digest FROM policies WHERE in_force) AS policy_in_force, EXISTS (SELECT FROM secrets s WHERE s.run_id = h.id) AS secret,
       EXISTS (SELECT FROM approval_requests q WHERE q.run_id = h.id) AS asked
FROM held h JOIN askers a ON a.name = (h.whole).asker
""")  # noqa: S608  built from constants
)
_UNTOLD: Final = MOVED_UNTOLD.replace(", r AS whole", "")
_SHOWN: Final = "EXISTS (SELECT FROM shown) AS shown, (SELECT count(*) FROM woken) AS woken"
_MOVE: Final = plain(text(f"{_UNTOLD}SELECT {_SHOWN} FROM moved"))  # noqa: S608
# The step's end comes before the run's, in the record too, and without it the run does not end.
_END: Final = plain(
    text(f"""
WITH last AS (SELECT * FROM jsonb_to_recordset(cast(:ends AS jsonb)) AS l(
       run_id uuid, revision int, position int, phase text, attempt int, result jsonb)),
mine AS (SELECT l.* FROM last l JOIN runs r ON r.id = l.run_id AND r.attempt = l.attempt AND r.worker IS NOT NULL FOR NO KEY UPDATE OF r),
ended AS (UPDATE steps s SET state = 'done', ended_at = countersign_now(), result = m.result, error = '', due_at = NULL
          FROM mine m WHERE s.run_id = m.run_id AND s.revision = m.revision AND s.position = m.position AND s.phase = m.phase
                            AND s.attempt = m.attempt AND s.state = 'calling' RETURNING s.*, cast(NULL AS float) AS wait),
told AS ({NOTED_END} RETURNING run_id),
{_UNTOLD.replace("WITH wanted", "wanted").replace("FROM wanted w WHERE", "FROM wanted w WHERE w.run_id IN (SELECT run_id FROM told) AND")}
SELECT id, {_SHOWN} FROM moved
""")  # noqa: S608  built from constants
)
_BEFORE: Final = "(s.run_id, s.revision, s.position, s.phase) = (w.run_id, w.revision, w.ended, w.ended_phase)"
_FOLLOWING: Final = """SELECT k.run_id, k.revision, k.position, k.phase, k.name, 'calling', k.attempt, cast(:worker AS text) FROM known k
       WHERE EXISTS (SELECT FROM mine m WHERE m.id = k.run_id AND m.attempt = k.attempt)
       AND EXISTS (SELECT FROM same s WHERE (s.run_id, s.policy, s.asker) = (k.run_id, k.policy, k.asker))"""
_UNCHANGED: Final = UNCHANGED.replace(":run_id", "s.run_id").replace(":policy", "s.policy").replace(":asker", "s.asker")
# Of one run twenty steps may end in the same instant: whether it may go on is looked at once.
_FOLLOW: Final = plain(
    text(f"""
WITH wanted AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(cast(:steps AS jsonb)) AS w(
       n int, run_id uuid, revision int, attempt int, position int, phase text, name text, policy text, asker text, ended int,
       ended_phase text, result jsonb)),
mine AS MATERIALIZED (SELECT r.id, r.attempt FROM (SELECT DISTINCT run_id, attempt FROM wanted) s JOIN runs r
       ON r.id = s.run_id AND r.attempt = s.attempt AND r.worker IS NOT NULL ORDER BY r.id FOR SHARE OF r),
same AS MATERIALIZED (SELECT s.* FROM (SELECT DISTINCT run_id, policy, asker FROM wanted) s WHERE {_UNCHANGED}),
ended AS (UPDATE steps s SET state = 'done', ended_at = countersign_now(), result = w.result, error = '', due_at = NULL
          FROM wanted w JOIN mine m ON m.id = w.run_id AND m.attempt = w.attempt
          WHERE {_BEFORE} AND s.attempt = w.attempt AND NOT (s.state = 'done' AND s.ended_at IS NOT NULL)
          RETURNING s.*, cast(NULL AS float) AS wait),
told AS ({NOTED_END}),
known AS MATERIALIZED (SELECT w.* FROM wanted w WHERE EXISTS (SELECT FROM ended s WHERE {_BEFORE}) OR EXISTS
           (SELECT FROM steps s WHERE {_BEFORE} AND s.attempt = w.attempt AND s.state = 'done' AND s.ended_at IS NOT NULL)),
begun AS ({BEGIN.format(chosen=_FOLLOWING)})
SELECT k.n, b.tries, b.seconds FROM known k LEFT JOIN begun b
ON (b.run_id, b.revision, b.position, b.phase) = (k.run_id, k.revision, k.position, k.phase)
""")  # noqa: S608  built from constants
)
_HELD: Final = FENCE.replace(":run_id", "s.run_id").replace(":attempt", "s.attempt").replace(" FOR SHARE", "")
_STILL: Final = plain(
    text(f"""
SELECT s.number FROM unnest(cast(:runs AS uuid[]), cast(:attempts AS int[]), cast(:policies AS text[]), cast(:askers AS text[]))
       WITH ORDINALITY AS s(run_id, attempt, policy, asker, number) WHERE {_HELD} AND {_UNCHANGED}
""")  # noqa: S608  built from constants
)
_BEGIN: Final = plain(
    text(f"""{_UNTOLD},
starts AS (SELECT w.*, m.attempt FROM moved m JOIN jsonb_to_recordset(cast(:starts AS jsonb)) AS w(
           run_id uuid, revision int, digest text, target text, first int, name text, policy text, asker text) ON w.run_id = m.id),
aimed AS (INSERT INTO targets (run_id, target) SELECT run_id, target FROM starts WHERE target <> '' ON CONFLICT DO NOTHING),
marked AS (INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker, ended_at, result)
           SELECT run_id, revision, {START}, 'do', 'start', 'done', attempt, cast(:worker AS text), countersign_now(), to_jsonb(digest)
           FROM starts ON CONFLICT DO NOTHING RETURNING run_id),
begun AS (INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker)
          SELECT s.run_id, s.revision, s.first, 'do', s.name, 'calling', s.attempt, cast(:worker AS text)
          FROM starts s WHERE s.first IS NOT NULL AND s.run_id IN (SELECT run_id FROM marked) AND {_UNCHANGED} RETURNING run_id)
SELECT id, id IN (SELECT run_id FROM marked) AS marked, id IN (SELECT run_id FROM begun) AS begun, {_SHOWN} FROM moved
""")  # noqa: S608  built from constants
)


@dataclass(frozen=True)
class Held:
    """A claimed run, whole, and whether it has secrets and anybody was asked to approve it; how things stood then, for the first step."""

    claim: Claim
    run: RunRow
    bearing: Bearing
    secret: bool
    asked: bool


async def take_whole(driver: WriteDriver, ids: Sequence[UUID], claiming: dict[str, Any]) -> list[Held]:
    """What `claims.claim` does, with all that there is to know of the runs. This and what follows raise psycopg.Error."""
    return [_held(row) for row in await _rows(driver, _TAKE, claiming | {"ids": list(ids)})]


async def move_alone(driver: WriteDriver, one: Move) -> bool | None:
    """`runs.move` of one run, as a transaction of its own; None when it did not move, else whether senders have to be told."""
    rows = await _rows(driver, _MOVE, moving([one]))
    return bool(rows[0]["shown"]) if rows else None


async def end_runs(driver: WriteDriver, ends: Sequence[tuple[Move, Finished]]) -> tuple[set[UUID], bool]:
    """Runs end with their last steps, each of them wholly or not at all: those that did, and whether senders have to be told."""
    last = [one.key.__dict__ | {"run_id": str(one.key.run_id), "result": one.result} for _, one in ends]
    rows = await _rows(driver, _END, moving([one for one, _ in ends]) | {"ends": Jsonb(last)})
    return {row["id"] for row in rows}, any(row["shown"] for row in rows)


@dataclass(frozen=True)
class First:
    """A run's first step: its position, its name, and what must not have changed for it to begin."""

    position: int
    name: str
    bearing: Bearing


@dataclass(frozen=True)
class Start:
    """What became of a run that begins: whether nothing was in its journal yet, and the position of the step that has begun with it.

    `ahead` of its slot: that step is called some time later. `seen`: a moment before that nothing had changed for it. `shown`:
    senders have to be told.
    """

    fresh: bool
    begun: int | None = None
    ahead: bool = False
    seen: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Beginning:
    """A run about to be carried out: its move, what is carried out and on which target, and its first step if that begins with it."""

    move: Move
    revision: int
    digest: str
    target: str = ""
    first: First | None = None

    def as_row(self) -> dict[str, Any]:
        own = {"run_id": str(self.move.run_id), "revision": self.revision, "digest": self.digest, "target": self.target}
        if self.first is None:
            return own
        bearing = self.first.bearing
        return own | {"first": self.first.position, "name": self.first.name, "policy": bearing.policy, "asker": bearing.asker}


async def begin_runs(driver: WriteDriver, beginnings: Sequence[Beginning], *, worker: str) -> list[Start | None]:
    """The moves, `journals.mark_start`, and the intents of those first steps that may begin, at once; None where the claim was lost."""
    own = {"starts": Jsonb([one.as_row() for one in beginnings]), "worker": worker}
    rows = {row["id"]: row for row in await _rows(driver, _BEGIN, moving([one.move for one in beginnings]) | own)}
    return [_start(rows[one.move.run_id], one.first) if one.move.run_id in rows else None for one in beginnings]


@dataclass(frozen=True)
class Following:
    """A step that begins as soon as the one before it is done, `after`, unless anything is not as `bearing` says any more."""

    key: StepKey
    name: str
    bearing: Bearing
    after: Finished

    def as_row(self) -> dict[str, Any]:
        own = self.key.__dict__ | {"run_id": str(self.key.run_id), "name": self.name}
        ended = {"ended": self.after.key.position, "ended_phase": self.after.key.phase, "result": self.after.result}
        return own | ended | {"policy": self.bearing.policy, "asker": self.bearing.asker}


async def follow(driver: WriteDriver, following: Sequence[Following], *, worker: str) -> list[tuple[bool, Begun | None]]:
    """Records that the steps before are done, whatever has changed, and begins these as `journals.begin_step_unchanged` would.

    Of each whether the end before it is recorded, which it is not when the claim has ended, and how it has begun, if it has.
    """
    steps = [one.as_row() | {"n": n} for n, one in enumerate(following)]
    rows = {row["n"]: row for row in await _rows(driver, _FOLLOW, {"steps": Jsonb(steps), "worker": worker})}
    return [(n in rows, _begun(rows.get(n))) for n in range(len(following))]


async def find_unchanged(driver: WriteDriver, begun: Sequence[tuple[StepKey, Bearing]]) -> list[bool]:
    """Of each whether its claim holds, and all is as `journals.begin_step_unchanged` would want it, in their order; this writes nothing."""
    values = {
        "runs": [key.run_id for key, _ in begun],
        "attempts": [key.attempt for key, _ in begun],
        "policies": [bearing.policy for _, bearing in begun],
        "askers": [bearing.asker for _, bearing in begun],
    }
    still = {row["number"] for row in await _rows(driver, _STILL, values)}
    return [number in still for number in range(1, len(begun) + 1)]


def _begun(row: dict[str, Any] | None) -> Begun | None:
    return Begun(row["tries"], float(row["seconds"])) if row and row["tries"] is not None else None


def _start(row: dict[str, Any], first: First | None) -> Start:
    return Start(row["marked"], first.position if first and row["begun"] else None, shown=row["shown"])


async def _rows(driver: WriteDriver, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    async with driver.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(statement, values)).fetchall()


def _held(row: dict[str, Any]) -> Held:
    run, person = run_of(row), person_of(SimpleNamespace(**row["person"]))
    claim = Claim(RunId(run.id), run.attempt, RunStatus(run.status), run.failures, row["at"])
    bearing = Bearing(run.cancelled_by, run.paused_by, row["policy_in_force"] or "", row["asker_text"], person, 0.0)
    return Held(claim, run, bearing, row["secret"], row["asked"])
