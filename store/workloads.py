"""How much waits for workers and for how long, as of now: from rows, by their indexes, so that asking costs little."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from .databases import ReadSession

RECENT_SECONDS: Final = 300


@dataclass(frozen=True)
class Queue:
    """Runs that a worker should take: how many, and for how many seconds the oldest is due."""

    name: str
    waiting: int
    oldest: float


@dataclass(frozen=True)
class Hooked:
    """What became of the deliveries of the last RECENT_SECONDS."""

    state: str
    reason: str
    count: int


@dataclass(frozen=True)
class Workload:
    """`unsealed` is the age in seconds of the oldest event that no block holds; schedules are late or were paused by their failures."""

    queues: tuple[Queue, ...]
    unsealed: float
    schedules_late: int
    schedule_oldest: float
    schedules_paused: int


QUEUES: Final = ("planning", "executing")
_QUEUES: Final = text("""
SELECT CASE WHEN status IN ('submitted', 'planning') THEN 'planning' ELSE 'executing' END AS queue, count(*) AS waiting,
       extract(epoch FROM countersign_now() - min(greatest(due_at, lease_until))) AS oldest
FROM runs WHERE status IN ('submitted', 'planning', 'queued', 'running', 'undoing') AND due_at <= countersign_now()
  AND (lease_until IS NULL OR lease_until < countersign_now()) GROUP BY 1
""")
_REST: Final = text("""
SELECT coalesce((SELECT extract(epoch FROM countersign_now()) - min(at_us) / 1000000.0 FROM audit_unsealed), 0) AS unsealed,
       s.late, s.oldest, (SELECT count(*) FROM schedules WHERE removed_at IS NULL AND paused_by = 'countersign' AND paused_at IS NOT NULL)
       AS paused
FROM (SELECT count(*) AS late, coalesce(extract(epoch FROM countersign_now() - min(next_at)), 0) AS oldest
      FROM schedules WHERE next_at < countersign_now()) s
""")


async def find_workload(session: ReadSession) -> Workload:
    """What waits now; every queue is named."""
    found = {row.queue: row for row in await session.execute(_QUEUES)}
    queues = [Queue(one, found[one].waiting, float(found[one].oldest)) if one in found else Queue(one, 0, 0.0) for one in QUEUES]
    rest = (await session.execute(_REST)).one()
    return Workload(tuple(queues), max(0.0, float(rest.unsealed)), rest.late, float(rest.oldest), rest.paused)


async def find_hooked(session: ReadSession) -> list[Hooked]:
    """The deliveries of the last minutes by what became of them."""
    rows = await session.execute(
        text(
            "SELECT state, reason, sum(count) AS n FROM deliveries"
            " WHERE received_at > countersign_now() - make_interval(secs => :recent) GROUP BY state, reason ORDER BY state, reason"
        ),
        {"recent": RECENT_SECONDS},
    )
    return [Hooked(row.state, row.reason, int(row.n)) for row in rows]
