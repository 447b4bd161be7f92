"""Stopping is safer than going on: everybody concerned may."""

from uuid import uuid4

import pytest

from commands.authorizing import INACTIVE, Refused
from commands.cancel import Cancelled
from countersign.runs import FINISHED, RunStatus
from store.databases import transaction
from store.people import deactivate
from tests.commands.desks import Desk


@pytest.mark.parametrize("name", ["ada", "lin", "kim", "max"])
async def test_those_concerned_cancel_before_it_begins_and_nothing_was_done(desk: Desk, name: str) -> None:
    run = await desk.waiting()
    assert await desk.cancel(name, run) == Cancelled("Run #1 is cancelled; nothing was done.")
    row = await desk.row(run)
    assert (row.status, row.outcome, row.due_at) == ("cancelled", f"Cancelled by {name}.", None)
    assert (await desk.trail(run))[-2:] == ["run:cancelled", "cancel:asked"]
    assert await desk.decide("lin", run) == Refused("Run #1 does not wait for an approval any more; it is cancelled.", "late_click")


async def test_eve_cancels_nothing(desk: Desk) -> None:
    run = await desk.waiting()
    answer = await desk.cancel("eve", run)
    assert answer == Refused("Only ada, those who may approve it and admins can cancel run #1.", "missing_permission")
    assert await desk.status(run) == "awaiting_approval"
    (event,) = await desk.events("cancel:refused")
    assert (event.actor, event.run, event.detail["refused"]) == ("eve", run, "missing_permission")


async def test_a_private_run_is_to_eve_as_if_there_were_none(desk: Desk) -> None:
    run = await desk.waiting(visibility="private")
    assert await desk.cancel("eve", run) == Refused("There is no such run.", "not_found_or_foreign")
    (event,) = await desk.events("cancel:refused")
    assert (event.actor, event.run) == ("eve", run)


async def test_who_left_cancels_nothing_not_even_their_own(desk: Desk) -> None:
    run = await desk.waiting()
    async with transaction(desk.worker) as session:
        await deactivate(session, "ada")
    assert await desk.cancel("ada", run) == INACTIVE


@pytest.mark.parametrize("status", [None, RunStatus.undoing])
async def test_while_it_runs_its_worker_is_asked_to_stop(desk: Desk, status: RunStatus | None) -> None:
    run = await desk.running(*([status] if status else []))
    assert await desk.cancel("lin", run) == Cancelled("Run #1 is asked to stop.")
    assert await desk.cancel("ada", run) == Cancelled("Run #1 is stopping already.")
    row = await desk.row(run)
    assert (row.status, row.cancelled_by) == (status or "running", "lin")


@pytest.mark.parametrize("status", [RunStatus.interrupted])
async def test_what_is_interrupted_is_cancelled_at_once(desk: Desk, status: RunStatus) -> None:
    run = await desk.running(status)
    assert isinstance(await desk.cancel("ada", run), Cancelled)
    assert await desk.status(run) == "cancelled"


@pytest.mark.parametrize("end", [RunStatus.denied, RunStatus.expired, RunStatus.cancelled])
async def test_what_has_ended_stays_as_it_is(desk: Desk, end: RunStatus) -> None:
    assert end in FINISHED
    run = await desk.waiting()
    await desk.moved(run, end)
    assert await desk.cancel("ada", run) == Refused(f"Run #1 has ended already: {end}.", "late_click")
    assert await desk.status(run) == end


async def test_what_is_not_there_is_refused_and_remembered(desk: Desk) -> None:
    assert await desk.cancel("ada", uuid4()) == Refused("There is no such run.", "not_found_or_foreign")
    assert len(await desk.events("cancel:refused")) == 1


async def test_before_it_is_planned(desk: Desk) -> None:
    run = await desk.run()
    assert isinstance(await desk.cancel("ada", run), Cancelled)
    assert isinstance(await desk.cancel("kim", await desk.run()), Refused)
