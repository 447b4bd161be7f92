"""A control answers at once, is recorded, and answers a repeated delivery as before."""

from typing import Any
from uuid import uuid4

import pytest

from commands.controls import ControlContext, call_control
from commands.submit import ControlCall
from countersign import CountersignError, Reply, control
from countersign.invocations import Door, Invocation, Place
from store.databases import transaction
from tests.commands.desks import Desk

asked: list[str] = []


@control("count")
async def count(ctx: ControlContext, word: str = "") -> Reply:
    """Count."""
    asked.append(word)
    if word == "wrong":
        raise CountersignError("That is wrong.")
    if word == "broken":
        raise ZeroDivisionError
    return Reply(text=f"{ctx.person.name} asked {len(asked)} times", code=word)


async def call(desk: Desk, key: str, word: str = "") -> Reply:
    arguments: dict[str, Any] = {"word": word}
    invocation = Invocation(key, Door.slack, Place("slack", "T1"), trace="t1")
    async with transaction(desk.web) as session:
        return await call_control(session, desk.rulebook, await desk.person("ada"), invocation, ControlCall(count, arguments, arguments))


async def test_a_repeated_delivery_gets_the_earlier_answer(desk: Desk) -> None:
    asked.clear()
    key = str(uuid4())
    first = await call(desk, key, "one")
    assert first.text == "ada asked 1 times"
    assert [await call(desk, key, "one") for _ in range(3)] == [first] * 3
    assert asked == ["one"]
    (event,) = await desk.events("control:asked")
    assert event.detail == {"command": "count", "arguments": {"word": "one"}, "door": "slack", "trace": "t1"}
    assert (await call(desk, str(uuid4()), "one")).text == "ada asked 2 times"


async def test_an_error_that_people_can_act_on_is_an_answer_and_kept_as_one(desk: Desk) -> None:
    asked.clear()
    key = str(uuid4())
    assert await call(desk, key, "wrong") == await call(desk, key, "wrong") == Reply(text="That is wrong.")
    assert len(asked) == 1


async def test_a_bug_leaves_nothing_behind_so_that_a_repeat_is_tried_again(desk: Desk) -> None:
    asked.clear()
    key = str(uuid4())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await call(desk, key, "broken")
    assert len(asked) == 2
    assert await desk.events("control:asked") == []
