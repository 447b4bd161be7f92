"""(f) Sleeps of 0.1 s, 2 to 20 at once: which share of the ceiling is reached, as runs of their own and as steps of one plan.

The ceiling is ten a second for each place. A sample is as many sleeps as take five seconds at the ceiling; `--whole` makes it 10,000.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from uuid import UUID

from sqlalchemy import text

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.machines import cpu_seconds
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.steps import CountersignSteps
from store.databases import reading

PLACES = (2, 5, 10, 20)
SECONDS = 5
WHOLE = 10_000
MOST_STEPS = 2_000
SLEEP = 0.1
ENDED_SECONDS = 900.0
RUNS = "sleeps as runs, share of the ceiling, %"
STEPS = "sleeps as steps of one plan, share of the ceiling, %"
CPU = "processors taken meanwhile, % of both (runs)"
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


class Dormitory(CountersignSteps):
    """A hub whose one executing worker has so many places."""

    def __init__(self, services: Services, places: int, *, sleeps: int) -> None:
        super().__init__(services, commands=COMMANDS, command="doze")
        self.hub = Countersign(services, web=False, commands=COMMANDS, settings={"COUNTERSIGN_SLOTS": str(places)})
        self.name, self.places, self._sleeps = f"{places} at once", places, sleeps

    async def sample(self) -> Mapping[str, float]:
        """Both shares, and what the runs took of the processors."""
        pids = self.hub.all_pids()
        began, spent = time.monotonic(), cpu_seconds(pids)
        runs = await self._span(await self.ask(self._sleeps))
        cpu = (cpu_seconds(pids) - spent) / (time.monotonic() - began)
        most = min(self._sleeps, MOST_STEPS)
        steps = await self._span(await self.ask(1, {"count": most, "at_once": self.places}))
        return {RUNS: self._share(self._sleeps, runs), STEPS: self._share(most, steps), CPU: 50 * cpu}

    async def warm(self) -> None:
        """Every connection is there."""
        await self._span(await self.ask(self.places))

    def _share(self, sleeps: int, seconds: float) -> float:
        return 100 * sleeps * SLEEP / self.places / seconds

    async def _span(self, ids: Sequence[UUID]) -> float:
        """Seconds from the beginning of the first sleep to the end of the last."""
        assert self.engine is not None
        deadline = time.monotonic() + ENDED_SECONDS
        async with reading(self.engine) as session:
            while (await session.execute(_ENDED, {"ids": list(ids)})).scalar_one() < len(ids):
                if time.monotonic() > deadline:
                    raise BenchmarkError("The sleepers did not wake up.")
                await asyncio.sleep(0.2)
            return float((await session.execute(_SPAN, {"ids": list(ids)})).scalar_one())


async def measure(services: Services, options: Options) -> list[Figure]:
    """One hub for each number of places, measured in turn."""
    async with AsyncExitStack() as stack:
        hubs = [Dormitory(services, places, sleeps=WHOLE if options.whole else SECONDS * 10 * places) for places in PLACES]
        for one in hubs:
            stack.push_async_callback(one.stop)
            await one.start()
            await one.warm()
        return await interleaved({one.name: partial(one.sample) for one in hubs}, rounds=options.rounds)


if __name__ == "__main__":
    programs.main(measure)
