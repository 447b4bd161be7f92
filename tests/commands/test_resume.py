"""The four buttons of an interrupted run."""

from uuid import uuid4

import pytest

from commands.authorizing import Refused
from commands.resume import LABELS, Choice, Resumed
from countersign.runs import RunStatus
from tests.commands.desks import Desk

TO = {Choice.happened: "running", Choice.again: "running", Choice.undo: "undoing", Choice.stop: "failed"}


@pytest.mark.parametrize("choice", list(Choice))
@pytest.mark.parametrize("name", ["ada", "lin", "max"])
async def test_a_choice_of_somebody_concerned_is_left_for_a_worker(desk: Desk, choice: Choice, name: str) -> None:
    run = await desk.running(RunStatus.interrupted)
    assert await desk.resume(name, run, choice) == Resumed(f"Run #1: {LABELS[choice].lower()}.")
    row = await desk.row(run)
    assert (row.status, row.choice, row.failures) == (TO[choice], choice, 0)
    assert (row.due_at is None) == (choice is Choice.stop)
    if choice is Choice.stop:
        assert row.outcome == f"Stopped by {name}; the interrupted step may have happened."
    (event,) = await desk.events("resume:chosen")
    assert (event.actor, event.detail["choice"]) == (name, choice)


@pytest.mark.parametrize("choice", list(Choice))
async def test_eve_has_no_say(desk: Desk, choice: Choice) -> None:
    run = await desk.running(RunStatus.interrupted)
    answer = await desk.resume("eve", run, choice)
    assert answer == Refused("Only ada, those who may approve it and admins can decide on run #1.", "missing_permission")
    assert await desk.status(run) == "interrupted"
    assert len(await desk.events("resume:refused")) == 1


async def test_a_private_run_is_to_eve_as_if_there_were_none(desk: Desk) -> None:
    run = await desk.running(RunStatus.interrupted, visibility="private")
    assert await desk.resume("eve", run, Choice.stop) == Refused("There is no such run.", "not_found_or_foreign")
    assert await desk.status(run) == "interrupted"


async def test_a_second_click_comes_late(desk: Desk) -> None:
    run = await desk.running(RunStatus.interrupted)
    await desk.resume("lin", run, Choice.again)
    assert await desk.resume("ada", run, Choice.happened) == Refused("Run #1 is not interrupted; it is running.", "late_click")
    assert (await desk.row(run)).choice == "again"


async def test_what_is_not_there_is_refused_and_remembered(desk: Desk) -> None:
    assert await desk.resume("ada", uuid4(), Choice.stop) == Refused("There is no such run.", "not_found_or_foreign")
    assert len(await desk.events("resume:refused")) == 1
