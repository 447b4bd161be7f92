"""What is known of a call beside the journal: by a dead worker's slate, and by a worker that was given up and lives."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from automations import calling, settling
from automations.executing import execute_runs
from automations.leases import end_dead
from automations.services import open_services
from automations.slates import Slate
from countersign.replies import Reply
from kit.bots import Bot, Member, RunHandle
from store.databases import reading, transaction
from store.runs import RunRow, search_runs
from tests.automations.carts import traced
from tests.automations.courses import held_up
from tests.hubs import until

DEAD, NEXT = "host/own-1:executing:70-a", "host/own-1:executing:71-b"


@pytest.fixture
def crew(crew: Bot) -> Iterator[Bot]:
    """Its worker is the first in a slot of a supervisor."""
    with tempfile.TemporaryFile(buffering=0) as file:
        crew.services.name, crew.services.slate = DEAD, Slate(file)
        crew.services.slate.begin(DEAD)
        yield crew


async def row_of(crew: Bot) -> RunRow:
    async with reading(crew.services.engine) as session:
        return (await search_runs(session, asker="ada", command="course", limit=1))[0]


async def killed(crew: Bot, ada: Member, there: Callable[[], Awaitable[bool]]) -> RunHandle:
    """The run of a worker that died as soon as that was there, after another had come into its place and gone on."""
    working = asyncio.create_task(ada.say("course how='once only'"))
    await until(there, what="the moment of death")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    url = crew.services.settings.database_url
    assert await asyncio.to_thread(end_dead, url, worker=NEXT, parent=os.getppid(), slate=crew.services.slate) == 1
    crew.services.name = NEXT
    return await crew.watch((await row_of(crew)).id, Reply(text=""))


async def never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def test_a_step_that_was_begun_and_not_called_is_called(crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def begun() -> bool:
        async with crew.owner.connect() as connection:
            return (await connection.execute(text("SELECT 1 FROM steps WHERE state = 'calling'"))).first() is not None

    async def there() -> bool:
        if not (found := await begun()):
            return False
        monkeypatch.undo()
        return found

    monkeypatch.setattr(calling, "_run", never)
    run = await killed(crew, ada, there)
    assert run.succeeded, run.outcome
    assert traced(trace) == ["?a", "+a"]
    assert run.trail[-5:] == ["run:running", "step:not_done", "run:reclaimed", "step:done", "run:succeeded"]


async def test_a_call_whose_end_was_not_in_the_journal_yet_is_not_made_again(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def there() -> bool:
        if "+a" not in traced(trace) or not crew.services.slate.ended((await row_of(crew)).id):
            return False
        monkeypatch.undo()
        return True

    monkeypatch.setattr(settling, "end_runs", never)
    run = await killed(crew, ada, there)
    assert run.succeeded, run.outcome
    assert traced(trace) == ["?a", "+a"]


async def test_a_call_under_way_is_for_a_person_to_judge(crew: Bot, ada: Member, trace: Path) -> None:
    async def there() -> bool:
        return traced(trace) == ["?a"]

    run = await killed(crew, ada, there)
    assert run.status == "interrupted"
    assert run.outcome == "once_only(what=a) was under way when its worker died; it may have happened."


async def given_up(crew: Bot, ada: Member, trace: Path, how: str, begun: str) -> tuple[UUID, "asyncio.Task[RunHandle]"]:
    """The run of a worker that was too slow for its lease: another one has taken it, and the first one's call goes on."""
    working = asyncio.create_task(ada.say(f"course how='{how}'"))

    async def there() -> bool:
        return begun in traced(trace)

    with held_up(trace):
        await until(there, what="the call is under way")
        run = (await row_of(crew)).id
        async with transaction(crew.owner) as session:
            await session.execute(text("UPDATE runs SET lease_until = countersign_now() - interval '1 second' WHERE id = :id"), {"id": run})
        other = open_services(crew.services.settings, name="other", pool=2)
        try:
            assert await execute_runs(other, [run]) == 1
        finally:
            await other.close()
    return run, working


async def test_a_worker_that_was_given_up_says_how_its_call_ended(crew: Bot, ada: Member, trace: Path) -> None:
    _, working = await given_up(crew, ada, trace, "once only", "?a")
    assert (await row_of(crew)).status == "interrupted"
    run = await working
    assert run.succeeded, run.outcome
    assert traced(trace) == ["?a", "+a"]
    assert run.trail[-5:] == ["run:reclaimed", "run:interrupted", "step:done", "run:running", "run:succeeded"]


async def test_what_a_person_has_decided_meanwhile_stands(crew: Bot, ada: Member, trace: Path) -> None:
    run_id, working = await given_up(crew, ada, trace, "once only", "?a")
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE runs SET status = 'failed' WHERE id = :id"), {"id": run_id})
    run = await working
    assert run.status == "failed"


async def test_a_step_that_waits_for_its_next_try_is_left_to_who_goes_on(crew: Bot, ada: Member, trace: Path) -> None:
    """A worker that ends leaves what has not begun; beside it, a step between two tries is left as well, and has not failed."""
    working = asyncio.create_task(ada.say("course how='left beside'"))

    async def trying_again() -> bool:
        return {"~", "?a"} <= set(traced(trace))

    await until(trying_again, what="one step waits for its next try")
    crew.services.ending = True

    async def handed_on() -> bool:
        return (await row_of(crew)).worker is None

    await until(handed_on, what="the worker has let go")
    crew.services.ending = False
    run = await working
    await crew.refresh()
    assert run.succeeded, run.outcome
    assert traced(trace).count("~") == 2
