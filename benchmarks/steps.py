"""(e) Forty light steps one after the other, each of them journalled durably: from asking for it until it is done.

Our side is asked through a row, as a door writes it, plans, plans again, and carries out in another process; the others run in the process
that calls them. So the whole of ours is compared with the whole of theirs, and shown beside it is what the steps alone took.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS
from benchmarks.machines import require_durable
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rivalries import Rival
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from store.databases import open_engine, reading, transaction
from store.runs import NewRun, create

STEPS = 40
RUNS_A_ROUND = 10
LOOK_SECONDS = 0.002
ENDED_SECONDS = 60.0
DBOS, PREFECT = "DBOS", "Prefect"
WHOLE = f"{STEPS} light steps, asked to done, median, ms"
ALONE = f"{STEPS} light steps, first begun to last ended, median, ms"
COMMANDS = f'''
"""Forty times a little work."""

from countersign import Context, Plan, PlanningContext, command, step


def plain(n: int) -> int:
    return n if n < 2 else plain(n - 1) + plain(n - 2)


@step(idempotent=True)
async def fibo(ctx: Context, n: int) -> int:
    return plain(n)


@command("fib", permission="work:run", risk="low")
async def fib(ctx: PlanningContext) -> Plan:
    """Do it forty times."""
    return Plan("forty Fibonacci numbers", *(fibo(10) for _ in range({STEPS})))
'''
_SPENT = text("SELECT extract(epoch FROM max(ended_at) - min(started_at)) FROM steps WHERE run_id = :id AND position >= 0")


class CountersignSteps:
    """Our side: the runs are asked for one after the other."""

    def __init__(self, services: Services, *, commands: str = COMMANDS, command: str = "fib") -> None:
        self.hub = Countersign(services, web=False, commands=commands)
        self._commands, self._command = commands, command
        self.engine: AsyncEngine | None = None

    async def start(self) -> None:
        """Workers, and one run so that every connection is there."""
        await self.hub.start()
        assert self.hub.urls is not None
        require_durable([self.hub.urls.worker, self.hub.urls.web])
        self.engine = open_engine(self.hub.urls.web, name="bench-door", pool=2, door=True)

    async def stop(self) -> None:
        """Ends all of it."""
        await self.hub.stop()
        if self.engine is not None:
            await self.engine.dispose()

    async def run(self) -> tuple[float, float]:
        """Seconds from asking to done, and from the beginning of the first step to the end of the last."""
        assert self.engine is not None
        began = time.perf_counter()
        run_id = (await self.ask(1))[0]
        async with reading(self.engine) as session:
            while True:
                row = (await session.execute(text("SELECT status FROM runs WHERE id = :id"), {"id": run_id})).one()
                if row.status == "succeeded":
                    return time.perf_counter() - began, float((await session.execute(_SPENT, {"id": run_id})).scalar_one())
                if row.status in ("failed", "cancelled", "interrupted", "refused") or time.perf_counter() - began > ENDED_SECONDS:
                    raise BenchmarkError(f"The run is {row.status}.")
                await asyncio.sleep(LOOK_SECONDS)

    async def ask(self, count: int, arguments: Mapping[str, int] | None = None) -> list[UUID]:
        """Commits so many runs at once, as a door does it."""
        assert self.engine is not None
        place = {"platform": "api", "team": "", "channel": "", "thread": "", "shared": False}
        runs = [
            NewRun(
                key=uuid4().hex,
                command=self._command,
                code_version=hashlib.sha256(self._commands.encode()).hexdigest(),
                risk=1,
                visibility="staff",
                asker="ada",
                door="api",
                place=place,
                arguments=dict(arguments or {}),
                origins={},
                policy="",
            )
            for _ in range(count)
        ]
        async with transaction(self.engine) as session:
            born = await create(session, runs)
        return [one.run_id for one in born.values()]


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of all sides."""
    async with AsyncExitStack() as stack:
        ours = CountersignSteps(services)
        rivals = [
            Rival(services, name=DBOS, program="dbos_steps.py", steps=STEPS),
            Rival(services, name=PREFECT, program="prefect_steps.py", steps=STEPS),
        ]
        stack.push_async_callback(ours.stop)
        for one in rivals:
            stack.push_async_callback(one.stop)
        await ours.start()
        missing = {one.name: why for one in rivals if (why := await _missing(one))}
        rivals = [one for one in rivals if one.name not in missing]
        require_durable([one.database_url for one in rivals])
        for _ in range(3):  # connections, caches and the first compilations
            await ours.run()
            for one in rivals:
                await one.run()
        sides = {OURS: partial(_ours, ours), **{one.name: partial(_theirs, one) for one in rivals}}
        whole, alone = await interleaved(sides, rounds=options.rounds)
        return [replace(whole, missing=missing), alone]


async def _missing(side: Rival) -> str:
    """Why it did not start; empty when it has."""
    try:
        await side.start()
    except BenchmarkError as error:
        return str(error)
    return ""


async def _ours(side: CountersignSteps) -> Mapping[str, float]:
    taken = [await side.run() for _ in range(RUNS_A_ROUND)]
    return {WHOLE: _median([whole for whole, _ in taken]), ALONE: _median([alone for _, alone in taken])}


async def _theirs(side: Rival) -> Mapping[str, float]:
    return {WHOLE: _median([await side.run() for _ in range(RUNS_A_ROUND if side.name == DBOS else 3)])}


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] * 1000


if __name__ == "__main__":
    programs.main(measure)
