"""A worker that is told to end finishes the step under way and leaves the rest to another, who goes on at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from automations.executing import execute_runs
from automations.planning import plan_runs
from automations.slots import Slot, Slots
from countersign.replies import Reply
from countersign.runs import RunStatus
from kit.bots import Bot
from kit.fixtures import open_bot
from store.claims import find_due
from store.databases import reading
from store.embedded import DatabaseUrls
from store.journals import find_steps
from store.runs import RunRow, find_runs
from tests.automations.courses import write_courses
from tests.hubs import until


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_courses(tmp_path)


@pytest.fixture
async def crew(bot_database: DatabaseUrls, trace: Path, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill", "cart:weigh"])
        yield bot


def done(trace: Path) -> list[str]:
    return trace.read_text().splitlines()


async def asked(crew: Bot, how: str) -> UUID:
    """A run that is planned and queued."""
    (ada,) = crew.cast("ada", may=["cart:fill", "cart:weigh"])
    run_id = (await ada.ask(f"course how='{how}'")).run_id
    assert run_id is not None
    await plan_runs(crew.services, [run_id])
    return run_id


async def left(crew: Bot, run_id: UUID) -> RunRow:
    """The row of a run that nobody holds and that is due."""
    async with reading(crew.services.engine) as session:
        row = (await find_runs(session, [run_id]))[run_id]
        assert run_id in await find_due(session, statuses=[RunStatus(row.status)], quiet=0, limit=100)
    assert (row.worker, row.lease_until, row.failures) == (None, None, 0)
    return row


async def test_what_is_under_way_ends_and_the_rest_is_left(crew: Bot, trace: Path) -> None:
    run_id = await asked(crew, "slowly")
    working = asyncio.create_task(execute_runs(crew.services, [run_id]))

    async def begun() -> bool:
        return "?a" in done(trace)

    await until(begun, what="the step is under way")
    crew.services.ending = True
    await working
    assert (await left(crew, run_id)).status == "running"
    assert done(trace) == ["?a", "+a"]
    crew.services.ending = False
    run = await crew.watch(run_id, Reply(text=""))
    assert run.succeeded, run.outcome
    assert done(trace) == ["?a", "+a", "?b", "+b"]
    assert (run.trail.count("run:given_back"), run.trail.count("run:reclaimed")) == (1, 0)


async def test_what_has_not_begun_stays_queued(crew: Bot, trace: Path) -> None:
    run_id = await asked(crew, "slowly")
    crew.services.ending = True
    await execute_runs(crew.services, [run_id])
    assert (await left(crew, run_id)).status == "queued"
    crew.services.ending = False
    assert (await crew.watch(run_id, Reply(text=""))).succeeded


@pytest.mark.parametrize(("freed", "called"), [(True, ["?a", "+a"]), (False, [])])
async def test_what_has_begun_ahead_of_its_slot_is_called_in_it_or_left_uncalled(
    crew: Bot, trace: Path, freed: bool, called: list[str]
) -> None:
    run_id = await asked(crew, "slowly")
    crew.services.slots = Slots(1)
    busy = Slot(crew.services.slots)
    assert await busy.take()
    working = asyncio.create_task(execute_runs(crew.services, [run_id]))

    async def begun() -> bool:
        async with reading(crew.services.engine) as session:
            return any(one.position == 0 for one in await find_steps(session, run_id, revision=1))

    await until(begun, what="its first step has begun")
    crew.services.ending = True
    if freed:
        busy.free()
    await working
    assert (await left(crew, run_id)).status == "running"
    assert done(trace) == called
    busy.free()
    crew.services.ending = False
    run = await crew.watch(run_id, Reply(text=""))
    assert run.succeeded, run.outcome
    assert done(trace) == ["?a", "+a", "?b", "+b"]
    assert run.trail.count("run:given_back") == 1
