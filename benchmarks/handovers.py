"""(b) How soon an idle worker starts on a job, and what its waiting costs."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

from benchmarks import programs
from benchmarks.hubs import Handover
from benchmarks.loads import percentile
from benchmarks.machines import cpu_seconds
from benchmarks.ours import CountersignHandover
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.sides.blmove import Blmove

SPACING_SECONDS = 0.02

SIDES: Sequence[Callable[[Services], Handover]] = (CountersignHandover, lambda services: Blmove(services.redis.url, services.folder))

P50 = "commit to handler start, idle p50, ms"
P99 = "commit to handler start, idle p99, ms"
TAIL = "commit to handler start, idle p99 over p50"
CPU = "CPU of an idle worker, % of a core"


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of all sides."""
    async with AsyncExitStack() as stack:
        sides = [side(services) for side in SIDES]
        for side in sides:
            stack.push_async_callback(side.stop)
            await side.start()
        waits = await interleaved({side.name: partial(_hand_over, side, options.hand_overs) for side in sides}, rounds=options.rounds)
        cpu = {side.name: partial(_watch, side, options.idle_seconds) for side in sides}
        return [*waits, *await interleaved(cpu, rounds=1)]


async def _hand_over(side: Handover, count: int) -> Mapping[str, float]:
    waits = []
    for _ in range(count):
        await asyncio.sleep(SPACING_SECONDS)
        waits.append(await side.hand_over())
    p50, p99 = percentile(waits, 50) * 1000, percentile(waits, 99) * 1000
    return {P50: p50, P99: p99, TAIL: p99 / p50}


async def _watch(side: Handover, seconds: float) -> Mapping[str, float]:
    pids = side.worker_pids()
    started, spent = time.monotonic(), cpu_seconds(pids)
    await asyncio.sleep(seconds)
    return {CPU: 100 * (cpu_seconds(pids) - spent) / (time.monotonic() - started)}


if __name__ == "__main__":
    programs.main(measure)
