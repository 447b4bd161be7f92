"""(f) Sleeps of 0.1 s, 2 to 20 at once, against the ceiling of ten a second for each place: as runs of their own, and as steps of one plan.

A sample is as many sleeps as take ten seconds at the ceiling, from 200 to 2,000 of them; `--whole` makes it 10,000. Whether the
processors were full shows beside it: a run of its own is asked, planned, planned again, audited and carried out for each sleep. All are
asked for at once, so that they are planned as fast as it goes while the first are carried out.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS
from benchmarks.machines import busy_seconds, processors
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.steps import CountersignSteps
from store.databases import reading

PLACES = (2, 5, 10, 20)
SECONDS = 10
WHOLE = 10_000
MOST_STEPS = 2_000
SLEEP = 0.1
ENDED_SECONDS = 900.0
CEILING = "ceiling"
COMMANDS = """
'''Sleep a little.'''

import asyncio

from countersign import Context, Plan, PlanningContext, command, parallel, step


@step(idempotent=True)
async def nap(ctx: Context) -> None:
    await asyncio.sleep(0.1)


@command("doze", permission="work:run", risk="low")
async def doze(ctx: PlanningContext, count: int = 1, at_once: int = 1) -> Plan:
    '''Sleep so often.'''
    return Plan(f"{count} naps", parallel(*(nap() for _ in range(count)), at_once=at_once) if count > 1 else nap())
"""
_ENDED = text("SELECT true WHERE NOT EXISTS (SELECT FROM runs WHERE id = ANY(:ids) AND status <> 'succeeded')")
_PLANNED = text("SELECT countersign_now() WHERE NOT EXISTS (SELECT FROM runs WHERE id = ANY(:ids) AND status IN ('submitted', 'planning'))")
_LATER = text(
    "SELECT count(*) / extract(epoch FROM max(ended_at) - :since) FROM steps WHERE run_id = ANY(:ids) AND position >= 0"
    " AND ended_at > :since"
)
_SPAN = text("SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM steps WHERE run_id = ANY(:ids) AND position >= 0")


def as_runs(places: int) -> str:
    """The name of the figure."""
    return f"sleeps as runs, {places} at once, 1/s"


def as_steps(places: int) -> str:
    """The name of the figure."""
    return f"sleeps as steps of one plan, {places} at once, 1/s"


def planned(places: int) -> str:
    """The name of the figure: of those that were carried out after all had been planned."""
    return f"sleeps as runs that are all planned, {places} at once, 1/s"


def busy(places: int) -> str:
    """The name of the figure: all processes of the machine."""
    return f"processors busy during the runs, {places} at once, %"


def busy_planning(places: int) -> str:
    """The name of the figure: until the last run was planned."""
    return f"processors busy while runs are planned, {places} at once, %"


class Dormitory(CountersignSteps):
    """A hub whose one executing worker has so many places."""

    def __init__(self, services: Services, places: int, *, sleeps: int) -> None:
        super().__init__(services, commands=COMMANDS, command="doze")
        self.hub = Countersign(services, web=False, commands=COMMANDS, settings={"COUNTERSIGN_SLOTS": str(places)})
        self.places, self._sleeps = places, sleeps

    async def sample(self) -> Mapping[str, float]:
        """Sleeps a second, both ways, and how busy the processors were with the runs."""
        meter = _Meter()
        ids = await self.ask(self._sleeps)
        since = await self._found(_PLANNED, ids)
        planning = meter.read()
        runs = await self._span(ids)
        whole = meter.read()
        most = min(self._sleeps, MOST_STEPS)
        steps = await self._span(await self.ask(1, {"count": most, "at_once": self.places}))
        return {
            as_runs(self.places): self._sleeps / runs,
            planned(self.places): float(await self._found(_LATER, ids, since=since)),
            as_steps(self.places): most / steps,
            busy(self.places): whole,
            busy_planning(self.places): planning,
        }

    async def ceiling(self) -> Mapping[str, float]:
        """No more than this is possible with so many places."""
        return {one(self.places): self.places / SLEEP for one in (as_runs, planned, as_steps)}

    async def warm(self) -> None:
        """Every connection is there."""
        await self._span(await self.ask(2 * self.places))

    async def _span(self, ids: Sequence[UUID]) -> float:
        """Seconds from the beginning of the first sleep to the end of the last."""
        await self._found(_ENDED, ids)
        return float(await self._found(_SPAN, ids))

    async def _found(self, asked: TextClause, ids: Sequence[UUID], **values: Any) -> Any:
        """What the statement finds, as soon as it finds anything."""
        assert self.engine is not None
        deadline = time.monotonic() + ENDED_SECONDS
        async with reading(self.engine) as session:
            while (found := (await session.execute(asked, {"ids": list(ids), **values})).scalar_one_or_none()) is None:
                if time.monotonic() > deadline:
                    raise BenchmarkError("The sleepers did not wake up.")
                await asyncio.sleep(0.1)
            return found


class _Meter:
    """How busy all processors have been since it was made."""

    def __init__(self) -> None:
        self._began, self._spent = time.monotonic(), busy_seconds()

    def read(self) -> float:
        """In percent."""
        return 100 * (busy_seconds() - self._spent) / (time.monotonic() - self._began) / processors()


async def measure(services: Services, options: Options) -> list[Figure]:
    """One hub after the other, each with a number of places of its own: idle ones would take processors from the one that is measured."""
    figures: list[Figure] = []
    for places in PLACES:
        one = Dormitory(services, places, sleeps=WHOLE if options.whole else round(SECONDS * places / SLEEP))
        try:
            await one.start()
            await one.warm()
            figures += await interleaved({OURS: one.sample, CEILING: one.ceiling}, rounds=options.rounds)
        finally:
            await one.stop()
    return figures


if __name__ == "__main__":
    programs.main(measure)
