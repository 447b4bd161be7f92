"""Carrying a plan out and taking it back: what was done, in which order, and what only a person may decide."""

import asyncio
from pathlib import Path

import pytest

from kit.bots import Bot, Member, RunHandle
from store.databases import reading
from store.runs import search_runs
from tests.automations.carts import done
from tests.hubs import until


@pytest.mark.parametrize(
    ("how", "status", "traced", "outcome"),
    [
        ("all well", "succeeded", "+a +b", "b"),
        ("undone", "rolled_back", "+a +b ! -b -a", "fail: it is broken. Everything that can be undone is undone."),
        (
            "some stays",
            "rolled_back",
            "+a +b ! -b",
            "fail: it is broken. Everything that can be undone is undone. It stays: put(what=a).",
        ),
        (
            "cannot be undone",
            "failed",
            "+a +b !",
            "fail(words=no more room.): no more room. 2 earlier steps have been done and cannot be undone.",
        ),
        ("nothing done", "failed", "!", "fail(words=it is broken): it is broken."),
        ("bad undo", "rollback_failed", "+a +b +c ! -c !", "The undo fail(words=it sticks) failed: it sticks"),
        ("slow", "rolled_back", "+a ~x -a", "often: took longer than 0.3s. Everything that can be undone is undone."),
    ],
)
async def test_how_a_plan_ends(ada: Member, trace: Path, how: str, status: str, traced: str, outcome: str) -> None:
    run = await ada.say(f"cart how='{how}'")
    assert (run.status, done(trace), run.outcome) == (status, traced, outcome)
    assert run.trail[-1] == f"run:{status}"


async def interrupted(ada: Member, how: str = "unclear") -> RunHandle:
    run = await ada.say(f"cart how='{how}'")
    assert run.status == "interrupted"
    return run


@pytest.mark.parametrize(
    ("choice", "status", "traced"),
    [
        ("happened", "succeeded", "+a ~x +c"),
        ("again", "succeeded", "+a ~x ~x +c"),
        ("undo", "rolled_back", "+a ~x -x -a"),
        ("stop", "failed", "+a ~x"),
    ],
)
async def test_a_call_that_may_have_happened_is_a_persons_to_judge(
    ada: Member, crew: Bot, trace: Path, choice: str, status: str, traced: str
) -> None:
    run = await interrupted(ada)
    assert run.outcome == "once(what=x) took longer than 0.3s; it may have happened."
    await crew.settle()
    assert done(trace) == "+a ~x"
    assert {one.intent for one in (await crew.card(run)).buttons} >= {f"resume_{one}" for one in ("happened", "again", "undo", "stop")}
    await ada.resume(run, choice)
    assert (run.status, done(trace)) == (status, traced)
    await ada.resume(run, choice, expect="is not interrupted")
    assert done(trace) == traced


@pytest.mark.parametrize(
    ("choice", "status", "traced"),
    [
        ("happened", "rolled_back", "+a +b ! ~b -a"),
        ("again", "rolled_back", "+a +b ! ~b ~b -a"),
        ("stop", "failed", "+a +b ! ~b"),
    ],
)
async def test_an_undo_that_may_have_happened_too(ada: Member, trace: Path, choice: str, status: str, traced: str) -> None:
    run = await interrupted(ada, "unclear undo")
    assert run.outcome == "The undo once(what=b) took longer than 0.3s; it may have happened."
    await ada.resume(run, choice)
    assert (run.status, done(trace)) == (status, traced)


async def cancelled_while_it_runs(ada: Member, crew: Bot, trace: Path, how: str) -> RunHandle:
    """Ada asks, and cancels from another window as soon as the step is under way."""
    asking = asyncio.create_task(ada.say(f"cart how={how}"))

    async def listening() -> bool:
        return "listening" in done(trace)

    await until(listening, what="the step begins")
    async with reading(crew.services.engine) as session:
        (row,) = await search_runs(session, asker="ada", command="cart", limit=1)
    answer = await ada.ask(f"cancel {row.number}")
    assert answer.reply.text == f"Run #{row.number} is asked to stop."
    return await asking


async def test_a_step_hears_of_a_cancel_and_ends_by_itself(ada: Member, crew: Bot, trace: Path) -> None:
    run = await cancelled_while_it_runs(ada, crew, trace, "listening")
    assert done(trace) == "listening heard"
    assert (run.status, run.outcome) == ("cancelled", "Cancelled at listen(); it may have happened in part.")


async def test_a_step_that_does_not_listen_is_ended_and_what_was_done_can_be_undone(ada: Member, crew: Bot, trace: Path) -> None:
    run = await cancelled_while_it_runs(ada, crew, trace, "deaf")
    assert (run.status, run.outcome) == ("interrupted", "Cancelled at deaf(); what was done before can be undone.")
    await ada.resume(run, "undo")
    assert run.status == "rolled_back"
    assert done(trace) == "+a listening -a"
