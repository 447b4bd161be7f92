"""Steps that are watched after they are done, that wait for long before they are begun again, and that submit other commands."""

from pathlib import Path

import pytest
from sqlalchemy import text

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from store.children import find_children
from store.databases import reading, transaction
from store.runs import search_runs
from tests.automations.carts import done


@pytest.fixture
def ada(crew: Bot) -> Member:
    (ada,) = crew.cast("ada", may=["cart:fill", "cart:weigh"])
    crew.cast("lin", may=["cart:approve"])
    return ada


async def pass_time(crew: Bot, run: RunHandle, *, minutes: int) -> None:
    for _ in range(minutes):
        if run.status is RunStatus.waiting:
            await crew.later("61s")


async def test_a_plan_goes_on_when_its_guard_has_held(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how=guarded")
    assert (run.status, done(trace)) == ("waiting", "+a")
    assert "✓ put(what=a)  ◷ watched" in (await crew.card(run)).code
    await pass_time(crew, run, minutes=9)
    assert run.status == "waiting"
    await pass_time(crew, run, minutes=3)
    assert run.succeeded
    assert done(trace).startswith("+a o o o o")
    assert done(trace).endswith("o +b")


async def test_a_guard_that_fails_undoes_by_itself(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how='guarded badly'")
    await pass_time(crew, run, minutes=9)
    assert (run.status, done(trace)) == ("rolled_back", "+z +a o o o o -a -z")
    assert "healthy(until=4) failed after it was done: it says no" in run.outcome
    assert run.trail.count("run:awaiting_approval") == 0


async def test_looks_that_fail_now_and_then_are_borne_as_the_plan_says(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how='guarded at first'")
    await pass_time(crew, run, minutes=12)
    assert (run.status, done(trace)) == ("rolled_back", "+a o o o o o o o o o -a")


async def test_a_cancel_reaches_a_run_that_is_only_watched(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how=guarded")
    await ada.cancel(run)
    assert (run.status, run.outcome) == ("interrupted", "Cancelled at put(what=a); what was done before can be undone.")
    await ada.resume(run, "undo")
    assert (run.status, done(trace)) == ("rolled_back", "+a -a")


async def test_a_long_wait_between_two_tries_holds_no_worker(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how=patient")
    assert (run.status, done(trace)) == ("waiting", "~")
    await crew.later("31s")
    assert (run.succeeded, done(trace)) == (True, "~ ~ +b")


async def children_of(crew: Bot, run: RunHandle) -> list[tuple[str, str, str]]:
    async with reading(crew.services.engine) as session:
        return [(one.command, one.asker, one.status) for one in await find_children(session, run.id)]


async def test_a_step_submits_another_command_and_uses_its_result(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how=child")
    await crew.later("2s")
    assert (run.status, run.outcome) == ("succeeded", "c!")
    assert await children_of(crew, run) == [("course", "ada", "succeeded")]
    assert done(trace).endswith("+c! ?c! +c!")


async def weighty_runs(crew: Bot) -> int:
    async with reading(crew.services.engine) as session:
        return len(await search_runs(session, command="weighty", limit=100))


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("child fails", "rolled_back", "cart was failed: fail(words=it is broken): it is broken"),
        ("no such child", "rolled_back", "There is no command 'crat'"),
        ("a control", "failed", "answers at once"),
        ("itself", "failed", "course was failed"),
    ],
)
async def test_a_child_that_does_not_succeed_fails_its_step(ada: Member, crew: Bot, how: str, status: str, said: str) -> None:
    run = await ada.say(f"course how='{how}'")
    for _ in range(7):
        if run.status in ("waiting", "running"):
            await crew.later("2s")
    assert run.status == status
    assert said in run.outcome


async def test_a_child_needs_its_own_permission(ada: Member, crew: Bot) -> None:
    (kim,) = crew.cast("kim", may=["cart:fill"])
    run = await kim.say("course how='child asks'")
    assert run.status == "rolled_back"
    assert await children_of(crew, run) == [("weighty", "kim", "refused")]
    assert "was refused: This needs the permission cart:weigh" in run.outcome


async def test_a_child_waits_for_its_own_approval(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how='children beside'")
    assert run.status == "waiting"
    assert done(trace) == "+s ?b +b"
    assert sorted(status for _, _, status in await children_of(crew, run)) == ["awaiting_approval"] * 2
    (lin,) = crew.cast("lin")
    async with reading(crew.services.engine) as session:
        rows = await find_children(session, run.id)
    for row in rows:
        await lin.do(f"approve {row.number}")
    await crew.later("2s")
    assert run.succeeded
    assert done(trace).endswith("+t")


async def test_a_run_that_is_cancelled_stops_its_children(ada: Member, crew: Bot) -> None:
    run = await ada.say("course how='child asks'")
    await ada.cancel(run)
    assert run.status == "interrupted"
    assert await children_of(crew, run) == [("weighty", "ada", "cancelled")]


async def test_the_undo_of_a_child_is_what_the_plan_says(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how='child undone'")
    for _ in range(3):
        await crew.later("2s")
    assert run.status == "rolled_back"
    assert await children_of(crew, run) == [("course", "ada", "succeeded"), ("cart", "ada", "succeeded")]
    assert done(trace).endswith("! +a +b -s")


async def test_a_child_is_submitted_once_however_often_its_step_is_begun(ada: Member, crew: Bot) -> None:
    """As after a death between the intent and the submission, or just after it."""
    run = await ada.say("course how='child asks'")
    before = await weighty_runs(crew)
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE steps SET state = 'calling' WHERE run_id = :run AND position = 1"), {"run": run.id})
    await crew.later("1s")
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE waits SET due_at = countersign_now() WHERE run_id = :run"), {"run": run.id})
    await crew.later("1s")
    assert len(await children_of(crew, run)) == 1
    assert await weighty_runs(crew) == before
    assert run.status == "waiting"
