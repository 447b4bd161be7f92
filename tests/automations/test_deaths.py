"""A worker that dies while several steps of a run are under way: what another one makes of the journal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text

from countersign.replies import Reply
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.runs import search_runs
from tests.automations.carts import traced
from tests.automations.courses import held_up
from tests.fakes.proxies import DelayingProxy
from tests.hubs import until

_BLAMED = "Its worker died each time it was resumed."
_DEAD = text("UPDATE runs SET lease_until = countersign_now() - interval '1 second' WHERE command = 'course' AND lease_until IS NOT NULL")


async def died(
    crew: Bot, ada: Member, trace: Path, how: str, *lines: str, meanwhile: Callable[[], Awaitable[object]] | None = None
) -> RunHandle:
    """The run after its worker has died as soon as these lines were there; nothing that it would have written later is written.

    `meanwhile` happens before another one takes it over.
    """
    working = asyncio.create_task(ada.say(f"course how='{how}'"))

    async def begun() -> bool:
        return all(traced(trace).count(line) >= lines.count(line) for line in lines)

    await until(begun, what="the steps are under way")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    async with reading(crew.services.engine) as session:
        (row,) = await search_runs(session, asker="ada", command="course", limit=1)
    assert row.status == "running"
    if meanwhile is not None:
        await meanwhile()
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE runs SET lease_until = countersign_now() - interval '1 second' WHERE id = :id"), {"id": row.id})
    return await crew.watch(row.id, Reply(text=""))


async def test_those_that_may_be_repeated_are(crew: Bot, ada: Member, trace: Path) -> None:
    run = await died(crew, ada, trace, "beside", "?a", "?b")
    assert run.succeeded, run.outcome
    assert [traced(trace).count(line) for line in ("?a", "?b", "+a", "+b", "+c", "+d")] == [2, 2, 1, 1, 1, 1]


async def test_of_those_that_may_not_all_are_named_and_judged_by_a_person(crew: Bot, ada: Member, trace: Path) -> None:
    run = await died(crew, ada, trace, "deaf beside", "listening", "listening", "+b")
    assert run.status == "interrupted"
    assert run.outcome == "deaf() and deaf() were under way when their worker died; they may have happened."
    await ada.resume(run, "happened")
    assert run.succeeded
    assert traced(trace).count("listening") == 2


async def test_a_failure_that_was_written_down_is_not_tried_again(crew: Bot, ada: Member, trace: Path) -> None:
    working = died(crew, ada, trace, "one fails", "!", "?b", "+c")
    run = await working
    lines = traced(trace)
    assert run.status == "rolled_back"
    assert lines.count("!") == 1
    assert "+d" not in lines
    assert lines.count("?b") == 2, "what was under way is finished first, so that it can be undone"
    assert sorted(lines[-3:]) == ["-a", "-b", "-c"]
    assert lines[-1] == "-a"


async def test_a_run_whose_workers_die_before_they_begin_it_is_put_to_a_person(crew: Bot, ada: Member, trace: Path) -> None:
    """A worker that dies takes all its runs along, so ten such losses are wanted before one run is blamed."""
    gone = "UPDATE runs SET worker = 'gone', failures = :losses, lease_until = countersign_now() - interval '1 second' WHERE id = :id"
    for losses, outcome in ((8, "succeeded"), (9, "Its worker died each time it was about to begin.")):
        run = await ada.say("course how=light --at 22:00")
        async with transaction(crew.owner) as session:
            await session.execute(text(gone), {"id": run.id, "losses": losses})
        await crew.later("24h")
        assert outcome in (run.status, run.outcome)
    assert len(traced(trace)) == 40, "what the blamed one would have done was not done"


@pytest.mark.parametrize(("losses", "status"), [(8, "succeeded"), (9, "failed")])
async def test_a_run_whose_workers_die_while_they_plan_it_is_its_owners_to_look_at(
    crew: Bot, ada: Member, trace: Path, losses: int, status: str
) -> None:
    asked = await ada.ask("course how=light")
    assert asked.run_id is not None
    async with transaction(crew.owner) as session:
        await session.execute(
            text(
                "UPDATE runs SET status = 'planning', worker = 'gone', failures = :losses,"
                " lease_until = countersign_now() - interval '1 second' WHERE id = :id"
            ),
            {"id": asked.run_id, "losses": losses},
        )
    run = await crew.watch(asked.run_id, asked.reply)
    assert run.status == status
    assert (status == "succeeded") == bool(traced(trace))
    assert (status == "failed") == (run.outcome == "Its worker died each time it was planned; its owner has to look.")


async def die_again(crew: Bot, trace: Path, line: str) -> None:
    """The worker of each run is dead, and so is whoever takes one over, as soon as this line is there once more."""
    before = traced(trace).count(line)
    async with transaction(crew.owner) as session:
        await session.execute(_DEAD)
    working = asyncio.create_task(crew.refresh())

    async def there() -> bool:
        return traced(trace).count(line) > before

    await until(there, what="the call is made again")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@pytest.mark.parametrize(("calls", "others", "outcome"), [(2, 7, "succeeded"), (3, 0, _BLAMED), (2, 8, _BLAMED)])
async def test_a_death_counts_as_a_third_only_when_it_was_in_a_call_of_this_run(
    crew: Bot, ada: Member, trace: Path, calls: int, others: int, outcome: str
) -> None:
    """It is in the hands of `others` that die before they call it, as it may be beside a run that kills workers."""
    lost = text("UPDATE runs SET attempt = attempt + :others, failures = failures + :others WHERE command = 'course'")

    async def meanwhile() -> None:
        for _ in range(calls - 1):
            await die_again(crew, trace, "?a")
        async with transaction(crew.owner) as session:
            await session.execute(lost, {"others": others})

    run = await died(crew, ada, trace, "slowly", "?a", meanwhile=meanwhile)
    assert outcome in (run.status, run.outcome)
    assert traced(trace).count("?a") == calls + (outcome == "succeeded")


async def test_of_two_that_have_died_twice_one_stays_away_while_the_other_is_out(crew: Bot, ada: Member, trace: Path) -> None:
    other = uuid4()
    assert not crew.services.suspects.admit(other)
    run = await died(crew, ada, trace, "slowly", "?a", meanwhile=partial(die_again, crew, trace, "?a"))
    for _ in range(3):
        assert run.status == "running"
        assert traced(trace) == ["?a", "?a"], "it is not called beside the other"
        await crew.later("5s")
    crew.services.suspects.clear(other)
    await crew.later("5s")
    assert run.succeeded, run.outcome
    assert run.trail.count("run:given_back") == 4


async def test_a_guard_and_a_child_outlive_their_worker(crew: Bot, ada: Member, trace: Path) -> None:
    """Both are rows with a due time: nobody holds the run, so there is nobody to die. A worker that dies while it looks changes nothing."""
    run = await ada.say("course how=guarded")
    async with transaction(crew.owner) as session:
        await session.execute(
            text(
                "UPDATE runs SET status = 'running', worker = 'gone', due_at = countersign_now(),"
                " lease_until = countersign_now() - interval '1 second' WHERE id = :id"
            ),
            {"id": run.id},
        )
    await crew.refresh()
    assert run.status == "waiting"
    for _ in range(12):
        await crew.later("61s")
    assert run.succeeded
    assert traced(trace).count("+a") == traced(trace).count("+b") == 1


async def test_what_a_living_worker_knows_is_written_when_postgres_is_back(
    bot_database: DatabaseUrls, trace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    near = make_url(bot_database.worker)
    async with DelayingProxy("127.0.0.1", int(str(near.query["port"]))) as wire:
        far = near.set(host="127.0.0.1", port=wire.port, query={}).render_as_string(hide_password=False)
        async with open_bot(replace(bot_database, worker=far), tmp_path, commands=trace.parent / "commands") as crew:
            (ada,) = crew.cast("ada", may=["cart:fill"])
            working = asyncio.create_task(ada.say("course how='once only'"))

            async def called() -> bool:
                return "?a" in traced(trace)

            async def waiting() -> bool:
                return "Postgres is waited for" in caplog.text

            with held_up(trace):
                await until(called, what="the call is under way")
                await wire.refuse()
            await until(waiting, what="the call has ended and cannot be written down")
            await wire.accept()
            await crew.services.engine.dispose()  # a sweep would ask again over new connections
            run = await working
            assert run.succeeded, run.outcome
    assert traced(trace) == ["?a", "+a"]
