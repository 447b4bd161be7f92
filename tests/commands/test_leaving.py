"""What is left behind by somebody who was deactivated: their requests are cancelled and their approvals are taken back."""

from uuid import UUID

import pytest

from commands.leaving import settle_leavers
from countersign import Approval
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.approvals import find_decisions, find_request
from store.databases import reading, transaction
from store.people import deactivate
from store.rosters import forget_vouchers
from store.tokens import find_token, issue_token
from tests.commands.desks import TWO, Desk

ONE = Approval(by="deploy:approve", count=1)


async def leave(desk: Desk, name: str) -> list[str]:
    async with transaction(desk.worker) as session:
        await settle_leavers(session, desk.rulebook)  # whom an earlier test of this database let go
        assert await deactivate(session, name)
    async with transaction(desk.worker) as session:
        return await settle_leavers(session, desk.rulebook)


async def votes(desk: Desk, run: UUID) -> list[str]:
    async with reading(desk.web) as session:
        request = await find_request(session, run)
        assert request is not None
        return [one.person for one in await find_decisions(session, request.id)]


@pytest.fixture(autouse=True)
async def back_afterwards(desk: Desk) -> None:
    async with transaction(desk.worker) as session:
        await forget_vouchers(session, source="admin", active=False)


async def test_what_they_asked_for_is_cancelled_wherever_it_waits(desk: Desk) -> None:
    submitted, waiting, queued = await desk.run(), await desk.waiting(), await desk.waiting()
    await desk.moved(queued, RunStatus.queued)
    under_way, ended, other = await desk.running(), await desk.running(RunStatus.succeeded), await desk.waiting(asker="kim")
    async with transaction(desk.web) as session:
        token = await issue_token(session, kind="api", person="ada", label="t", scopes=(), lifetime=600)
    assert await leave(desk, "ada") == ["ada"]
    for run in (submitted, waiting, queued):
        row = await desk.row(run)
        assert (row.status, row.due_at) == ("cancelled", None)
        assert row.outcome == "ada does not belong to this company any more, so this will not happen; nothing was done."
    assert [await desk.status(run) for run in (under_way, ended, other)] == ["running", "succeeded", "awaiting_approval"]
    async with reading(desk.web) as session:
        assert await find_token(session, token, kind="api") is None
        request = await find_request(session, waiting)
    assert request is not None
    assert request.state == "superseded"
    (event,) = await desk.events("person:let_go")
    numbers = [(await desk.row(run)).number for run in (submitted, waiting, queued)]
    assert set(numbers) <= set(event.detail["cancelled"])
    async with transaction(desk.worker) as session:
        assert await settle_leavers(session, desk.rulebook) == [], "once"


async def test_their_approval_of_an_open_request_does_not_count_any_more(desk: Desk) -> None:
    run = await desk.waiting(rule=TWO)
    await desk.decide("lin", run)
    assert await votes(desk, run) == ["lin"]
    await leave(desk, "lin")
    assert await votes(desk, run) == []
    assert await desk.trail(run, kinds="decision:") == ["decision:approve", "decision:lost"]
    await desk.decide("kim", run)
    assert await desk.status(run) == "awaiting_approval"


async def test_a_queued_run_goes_back_to_those_who_decide(desk: Desk) -> None:
    run, enough = await desk.waiting(rule=ONE), await desk.waiting(rule=ONE)
    await desk.decide("lin", run)
    await desk.decide("kim", enough)
    assert [await desk.status(one) for one in (run, enough)] == ["queued", "queued"]
    await leave(desk, "lin")
    assert [await desk.status(one) for one in (run, enough)] == ["awaiting_approval", "queued"]
    assert "run:awaiting_approval" in await desk.trail(run)
    await desk.decide("kim", run)
    assert await desk.status(run) == "queued"


async def test_when_the_time_to_decide_is_over_it_is_cancelled(desk: Desk) -> None:
    run = await desk.waiting(rule=ONE, expires=60)
    await desk.decide("lin", run)
    await desk.pass_time("61 seconds")
    await leave(desk, "lin")
    row = await desk.row(run)
    assert (row.status, row.outcome) == ("cancelled", "lin, who approved it, left, and the time to decide is over; nothing was done.")


async def test_a_denial_stays(desk: Desk) -> None:
    run = await desk.waiting(rule=Approval(by="deploy:approve", count=2, deny=2))
    await desk.decide("lin", run, verdict=Verdict.deny)
    await leave(desk, "lin")
    assert await votes(desk, run) == ["lin"]
