"""A worker that lives keeps its runs; one that is stuck lets go of them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from sqlalchemy import make_url, text

from automations.leases import Leases, end_dead
from automations.slates import Slate
from countersign.runs import RunStatus
from store.claims import Claim, claim
from store.databases import plain_url, reading, transaction
from store.embedded import DatabaseUrls
from tests.commands.desks import Desk, open_desk
from tests.fakes.proxies import DelayingProxy
from tests.forks import ROOT
from tests.hubs import until

NEXT = "host/own-1:executing:72-c"
STUCK = """
import asyncio, sys, threading, time
from automations import leases
leases.STUCK_SECONDS = 0.3
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
one = leases.Leases(sys.argv[1], worker="w", lease=0.3, held=set())
one.watch(loop)
one.start()
if sys.argv[2] == "stuck":
    loop.call_soon_threadsafe(time.sleep, 30)
time.sleep(1.5)
print("alive")
"""


async def held(desk: Desk, run: UUID, *, worker: str, lease: float) -> list[Claim]:
    async with transaction(desk.worker) as session:
        return await claim(session, [run], statuses=list(RunStatus), worker=worker, lease=lease, versions=["c1"])


@asynccontextmanager
async def renewing(urls: DatabaseUrls, runs: set[UUID]) -> AsyncIterator[Leases]:
    leases = Leases(urls.worker, worker="w1", lease=3.0, held=runs)
    leases.watch(asyncio.get_running_loop())
    leases.start()
    try:
        yield leases
    finally:
        leases.end()
        await asyncio.to_thread(leases.join, 5)


async def seconds_left(desk: Desk, run: UUID) -> float:
    async with reading(desk.web) as session:
        row = await session.execute(
            text("SELECT extract(epoch FROM lease_until - countersign_now()) FROM runs WHERE id = :run"), {"run": run}
        )
        return float(row.scalar_one())


async def test_what_is_held_is_renewed_and_what_is_let_go_runs_out(database: DatabaseUrls, tmp_path: Path) -> None:
    async with open_desk(database, tmp_path) as desk:
        kept, dropped, foreign = [await desk.run() for _ in range(3)]
        for run, worker in ((kept, "w1"), (dropped, "w1"), (foreign, "w2")):
            assert await held(desk, run, worker=worker, lease=3.0)
        async with renewing(database, {kept, foreign}):

            async def both_ran_out() -> bool:
                return max(await seconds_left(desk, dropped), await seconds_left(desk, foreign)) < 0

            await until(both_ran_out, what="the leases that nobody renews")
            assert await seconds_left(desk, kept) > 0
            assert not await held(desk, kept, worker="w3", lease=60)
            assert await held(desk, dropped, worker="w3", lease=60)
            assert await held(desk, foreign, worker="w3", lease=60)
            began = time.monotonic()
            await until(lambda: _late(began))
            assert await seconds_left(desk, dropped) > 30


async def test_a_worker_ends_the_leases_of_the_one_before_it_and_others_hear_of_its_runs(database: DatabaseUrls, tmp_path: Path) -> None:
    async with open_desk(database, tmp_path) as desk:
        left, foreign = await desk.run(), await desk.run()
        assert await held(desk, left, worker="host/own-1:executing:70-a", lease=60)
        assert await held(desk, foreign, worker="host/own-11:executing:71-b", lease=60)
        async with await psycopg.AsyncConnection.connect(plain_url(database.listen), autocommit=True) as listening:
            await listening.execute("LISTEN countersign_work")
            assert await asyncio.to_thread(end_dead, database.worker, worker=NEXT, parent=os.getppid(), slate=Slate()) == 1
            heard = [notice.payload async for notice in listening.notifies(timeout=60, stop_after=1)]
        assert heard == [f"execute {left}"]
        assert await held(desk, left, worker="w3", lease=60)
        assert not await held(desk, foreign, worker="w3", lease=60)


async def test_a_worker_waits_for_a_postgres_that_is_away(database: DatabaseUrls) -> None:
    url = make_url(database.worker)
    async with DelayingProxy("127.0.0.1", int(str(url.query["port"]))) as wire:
        await wire.refuse()
        far = url.set(host="127.0.0.1", port=wire.port, query={}).render_as_string(hide_password=False)
        waiting = asyncio.create_task(asyncio.to_thread(end_dead, far, worker=NEXT, parent=os.getppid(), slate=Slate()))
        await asyncio.wait([waiting], timeout=0.5)
        assert not waiting.done()
        await wire.accept()
        async with asyncio.timeout(60):
            assert await waiting == 0


async def _late(began: float) -> bool:
    return time.monotonic() - began > 1.4


def stuck(urls: DatabaseUrls, how: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", STUCK, urls.worker, how], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_process_whose_loop_is_stuck_ends(database: DatabaseUrls) -> None:
    ended = stuck(database, "stuck")
    assert ended.returncode == 70
    assert "the event loop has been stuck" in ended.stderr
    well = stuck(database, "well")
    assert (well.returncode, well.stdout) == (0, "alive\n")
