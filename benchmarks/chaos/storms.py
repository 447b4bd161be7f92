"""A storm: the runs and the faults at once, then the quiet after it, then the count."""

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.chaos.asking import People
from benchmarks.chaos.counting import Report, count
from benchmarks.chaos.faults import Faults
from benchmarks.chaos.grounds import Ground, ground
from benchmarks.chaos.sizes import Size

QUIET_SECONDS = 180
_MOVING = text("""
SELECT count(*) FROM runs WHERE status NOT IN ('answered', 'denied', 'expired', 'succeeded', 'failed', 'rolled_back', 'rollback_failed',
'cancelled', 'refused', 'interrupted') AND NOT (status = 'awaiting_approval' AND arguments->>'name' LIKE 'keep-%')
""")

_LEFT = text("""
SELECT status, attempt, failures, worker, lease_until - countersign_now() AS lease, due_at - countersign_now() AS due FROM runs
WHERE status IN ('submitted', 'planning', 'queued', 'running', 'undoing', 'waiting') ORDER BY due_at LIMIT 5
""")


async def rage(folder: Path, size: Size, *, seed: int) -> Report:
    """One storm in this folder. The same seed draws the same faults at the same seconds; what they hit is up to the machine's scheduler."""
    began = time.monotonic()
    async with ground(folder, size, seed=seed) as made:
        started = time.monotonic() - began
        faults = Faults(made, size, random.Random(seed))
        people = People(made, size, random.Random(seed + 1))
        async with asyncio.TaskGroup() as storm:
            deciding = storm.create_task(people.decide())
            async with asyncio.TaskGroup() as group:
                group.create_task(people.ask_all())
                group.create_task(faults.strike())
            asked = time.monotonic() - began
            await _calm(made)
            deciding.cancel()
        quiet = time.monotonic() - began
        report = await count(made, size, people, faults, seed=seed)
        report.seconds = {"start": started, "storm": asked - started, "until all was quiet": quiet - asked}
        report.seconds["count"] = time.monotonic() - began - quiet
        return report


async def _calm(made: Ground) -> None:
    """Returns when every run has ended but for those that people have; raises AssertionError when that takes too long."""
    deadline = time.monotonic() + QUIET_SECONDS
    moving = -1
    while moving:
        if time.monotonic() > deadline:
            raise AssertionError(f"{moving} runs had not ended {QUIET_SECONDS} s after the storm: {await _left(made)}")
        await asyncio.sleep(0.25)
        with suppress(SQLAlchemyError, OSError):
            async with made.engine.connect() as connection:
                moving = (await connection.execute(_MOVING)).scalar_one()


async def _left(made: Ground) -> list[tuple[str, ...]]:
    """What some of them are waiting for."""
    async with made.engine.connect() as connection:
        rows = (await connection.execute(_LEFT)).all()
    return [tuple(map(str, row)) for row in rows]
