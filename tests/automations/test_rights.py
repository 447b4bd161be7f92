"""An asker who loses the right while a run is under way: it stops before the next step and offers what can be undone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls
from store.grants import How, end, find_grants
from store.people import deactivate
from tests.automations.convoys import traced, write_convoy
from tests.hubs import until


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada holds the role `driver` for two hours; Max has given it."""
    write_convoy(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["access:request"])
        max_, lin = bot.cast("max", "lin", may=["countersign:admin"])
        bot.policy(roles={"driver": ["convoy:run"]})
        run = await max_.say("grant ada driver 2h")
        await lin.approve(run)
        assert run.succeeded, run.outcome
        yield bot
        await bot.later("5h")


async def under_way(crew: Bot, folder: Path, meanwhile: Callable[[Bot], Awaitable[None]], line: str = "convoy") -> RunHandle:
    """Ada's run, during whose second step something happens."""
    asking = asyncio.create_task(Member(crew, "ada").say(line))

    async def waiting() -> bool:
        return "waits" in traced(folder)

    await until(waiting, what="the second step begins")
    await meanwhile(crew)
    (folder / "gate").touch()
    run = await asking
    await crew.refresh()
    return run


async def ended(crew: Bot, how: How) -> None:
    async with crew.services.transaction() as session:
        (grant,) = await find_grants(session, subject="ada", role="driver")
        await end(session, [grant.id], by="max", how=how)


async def revoked(crew: Bot) -> None:
    await ended(crew, How.revoked)


async def returned(crew: Bot) -> None:
    await ended(crew, How.returned)


async def left(crew: Bot) -> None:
    async with crew.services.transaction() as session:
        await deactivate(session, "ada")


async def policy_changed(crew: Bot) -> None:
    """The role carries something else from now on."""
    crew.policy(roles={"driver": ["convoy:look"]})
    await crew.person("max")


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (revoked, "ada may not run convoy any more. This needs the permission convoy:run; it belongs to the role driver."),
        (returned, "ada may not run convoy any more. This needs the permission convoy:run; it belongs to the role driver."),
        (left, "the account of ada is not active any more."),
        (policy_changed, "ada may not run convoy any more. This needs the permission convoy:run; no role carries it."),
    ],
)
async def test_it_stops_before_the_next_step_and_what_was_done_can_be_undone(
    crew: Bot, tmp_path: Path, meanwhile: Callable[[Bot], Awaitable[None]], why: str
) -> None:
    run = await under_way(crew, tmp_path, meanwhile)
    assert (run.status, traced(tmp_path)) == ("interrupted", "+a waits")
    assert run.outcome == f"Stopped before put(what=c): {why} What was done before can be undone."
    assert run.trail[-1] == "run:interrupted"
    await Member(crew, "max").resume(run, "undo")
    assert (run.status, traced(tmp_path)) == ("rolled_back", "+a waits -a")


async def test_going_on_asks_again_and_works_once_the_right_is_back(crew: Bot, tmp_path: Path) -> None:
    run = await under_way(crew, tmp_path, revoked)
    ada, max_, lin = crew.cast("ada", "max", "lin")
    await max_.resume(run, "happened")
    assert run.status == RunStatus.interrupted, "nobody's click stands for the asker's right"
    again = await ada.say("access request driver 1h")
    await lin.approve(again)
    assert again.succeeded, again.outcome
    await ada.resume(run, "happened")
    assert (run.status, traced(tmp_path)) == ("succeeded", "+a waits +c")


async def test_nothing_can_be_undone_where_nothing_has_an_undo(crew: Bot, tmp_path: Path) -> None:
    run = await under_way(crew, tmp_path, revoked, line="convoy how=plain")
    assert run.status == "interrupted"
    assert run.outcome.endswith("it belongs to the role driver.")
    await Member(crew, "max").resume(run, "stop")
    assert (run.status, traced(tmp_path)) == ("failed", "+a waits")


async def test_an_end_between_the_approval_and_the_first_step_leaves_nothing_done(crew: Bot, tmp_path: Path) -> None:
    crew.policy(roles={"driver": ["convoy:run"]}, rules=[{"name": "ask", "command": "convoy", "approve": {"by": "countersign:admin"}}])
    ada, max_ = crew.cast("ada", "max")
    run = await ada.say("convoy")
    await crew.later("3h")
    await max_.approve(run)
    assert (run.status, traced(tmp_path)) == ("cancelled", "")
    assert run.outcome.startswith("Nothing was done: This needs the permission convoy:run")


async def test_who_keeps_the_right_notices_nothing(crew: Bot, tmp_path: Path) -> None:
    async def nothing(_: Bot) -> None:
        pass

    run = await under_way(crew, tmp_path, nothing)
    assert (run.status, traced(tmp_path)) == ("succeeded", "+a waits +c")
