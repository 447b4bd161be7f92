"""(f) Sleeps of 0.1 s, 2 to 20 at once, against the ceiling of ten a second for each place: as runs of their own, and as steps of one plan.

A sample is as many sleeps as take ten seconds at the ceiling, from 200 to 2,000 of them; `--whole` makes it 10,000. Whether the
processors were full shows beside it: a run of its own is asked, planned, planned again, audited and carried out for each sleep.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import text

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
_ENDED = text("SELECT count(*) FROM runs WHERE id = ANY(:ids) AND status = 'succeeded'")
_SPAN = text("SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM steps WHERE run_id = ANY(:ids) AND position >= 0")


def as_runs(places: int) -> str:
    """The name of the figure."""
    return f"sleeps as runs, {places} at once, 1/s"


def as_steps(places: int) -> str:
    """The name of the figure."""
    return f"sleeps as steps of one plan, {places} at once, 1/s"


def busy(places: int) -> str:
    """The name of the figure: all processes of the machine."""
    return f"processors busy during the runs, {places} at once, %"


class Dormitory(CountersignSteps):
    """A hub whose one executing worker has so many places."""

    def __init__(self, services: Services, places: int, *, sleeps: int) -> None:
        super().__init__(services, commands=COMMANDS, command="doze")
        self.hub = Countersign(services, web=False, commands=COMMANDS, settings={"COUNTERSIGN_SLOTS": str(places)})
        self.places, self._sleeps = places, sleeps

    async def sample(self) -> Mapping[str, float]:
        """Sleeps a second, both ways, and how busy the processors were with the runs."""
        began, spent = time.monotonic(), busy_seconds()
        runs = await self._span(await self.ask(self._sleeps))
        taken = (busy_seconds() - spent) / (time.monotonic() - began) / processors()
        most = min(self._sleeps, MOST_STEPS)
        steps = await self._span(await self.ask(1, {"count": most, "at_once": self.places}))
        return {as_runs(self.places): self._sleeps / runs, as_steps(self.places): most / steps, busy(self.places): 100 * taken}

    async def ceiling(self) -> Mapping[str, float]:
        """No more than this is possible with so many places."""
        return {as_runs(self.places): self.places / SLEEP, as_steps(self.places): self.places / SLEEP}

    async def warm(self) -> None:
        """Every connection is there."""
        await self._span(await self.ask(2 * self.places))

    async def _span(self, ids: Sequence[UUID]) -> float:
        """Seconds from the beginning of the first sleep to the end of the last."""
        assert self.engine is not None
        deadline = time.monotonic() + ENDED_SECONDS
        async with reading(self.engine) as session:
            while (await session.execute(_ENDED, {"ids": list(ids)})).scalar_one() < len(ids):
                if time.monotonic() > deadline:
                    raise BenchmarkError("The sleepers did not wake up.")
                await asyncio.sleep(0.1)
            return float((await session.execute(_SPAN, {"ids": list(ids)})).scalar_one())


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
