"""The start that was asked for, and the later one that an approver says."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from commands.authorizing import Refused
from commands.decide import Decided, Vote, decide
from commands.starts import START, shown_start, start_fields, wanted_start
from countersign.approvals import Approval
from countersign.calendars import zone_of
from countersign.invocations import Door
from countersign.moments import shown
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.databases import reading, transaction
from store.runs import RunRow
from tests.commands.desks import DIGEST, PLAN, Desk

BERLIN = zone_of("Europe/Berlin")
ONE = Approval(by="deploy:approve")


async def soon(desk: Desk, hours: float = 2) -> datetime:
    """So many hours from the database's now, to the minute."""
    async with reading(desk.web) as session:
        now: datetime = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
    return now.replace(second=0, microsecond=0) + timedelta(hours=hours)


async def approve(desk: Desk, name: str, run: UUID, at: str, verdict: Verdict = Verdict.approve) -> Decided | Refused:
    async with transaction(desk.web) as session:
        vote = Vote(run, verdict, Door.slack, DIGEST, start_at=at)
        return await decide(session, desk.rulebook, await desk.person(name), vote)


async def test_an_approved_run_starts_when_it_was_wanted_and_its_approval_is_valid_from_then(desk: Desk) -> None:
    start = await soon(desk)
    run = await desk.waiting(rule=ONE, start_at=start.isoformat())
    answer = await desk.decide("kim", run)
    assert answer == Decided(f"Approved; it starts {shown(start, zone_of('UTC'))}.", RunStatus.queued, 0)
    assert (await desk.row(run)).due_at == start
    async with reading(desk.web) as session:
        valid = (await session.execute(text("SELECT valid_until FROM approval_requests WHERE run_id = :run"), {"run": run})).scalar_one()
    assert valid == start + timedelta(hours=24)


async def test_an_approver_says_a_later_start(desk: Desk) -> None:
    start = await soon(desk)
    run = await desk.waiting(start_at=start.isoformat())
    later = start + timedelta(hours=1)
    assert isinstance(await approve(desk, "lin", run, shown(later, BERLIN)), Decided)
    latest = later + timedelta(hours=1)
    answer = await approve(desk, "kim", run, shown(latest, BERLIN))
    assert isinstance(answer, Decided)
    assert answer.sentence == f"Approved; it starts {shown(latest, zone_of('UTC'))}."
    assert (await desk.row(run)).due_at == latest
    said = [str(one.detail.get("start_at")) for one in await desk.events("decision:approve") if one.run == run]
    assert sorted(said) == [later.isoformat(), latest.isoformat()]


@pytest.mark.parametrize("wanted", [2, None])
async def test_nobody_makes_it_start_earlier_than_was_asked_or_in_the_past(desk: Desk, wanted: float | None) -> None:
    start = await soon(desk, wanted or 0)
    run = await desk.waiting(rule=ONE, start_at=start.isoformat() if wanted else None)
    earlier = await approve(desk, "kim", run, shown(start - timedelta(hours=1), BERLIN))
    assert isinstance(earlier, Refused)
    problem = f"at: is earlier than what was asked for, which is {shown(start, zone_of('UTC'))}." if wanted else "at: has passed: it is "
    assert earlier.sentence.startswith(problem)
    assert earlier.reason == "wrong_argument"
    assert (await desk.row(run)).status == RunStatus.awaiting_approval
    assert await desk.trail(run, kinds="decision") == ["decision:refused"]
    assert isinstance(await desk.decide("kim", run), Decided), "the vote is not used up"


async def test_a_time_that_is_none_or_with_a_denial_is_refused(desk: Desk) -> None:
    run = await desk.waiting(rule=ONE)
    for at, verdict, problem in (("noon", Verdict.approve, "should be a time"), ("in 2h", Verdict.deny, "only who approves says when")):
        answer = await approve(desk, "kim", run, at, verdict)
        assert isinstance(answer, Refused)
        assert problem in answer.sentence


async def test_who_may_not_approve_puts_nothing_off(desk: Desk) -> None:
    run = await desk.waiting(rule=ONE)
    assert isinstance(await approve(desk, "ada", run, "in 2h"), Refused)
    assert isinstance(await approve(desk, "eve", run, "in 2h"), Refused)
    assert (await desk.row(run)).start_at is None


NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def row(**more: Any) -> RunRow:
    return RunRow(**{"status": "awaiting_approval", "dry_run": False, "plan": None, "start_at": None} | more)


def signed(text: str, **more: str) -> dict[str, Any]:
    return {**PLAN, "watched": {START: text}, **more}


def test_what_was_signed_is_the_earliest_start_whatever_stands_beside_it() -> None:
    plan = signed("2026-12-01 22:00 Europe/Berlin")
    evening = datetime(2026, 12, 1, 21, tzinfo=UTC)
    assert wanted_start(row(plan=plan, start_at=None), NOON) == evening
    assert wanted_start(row(plan=plan, start_at=NOON), NOON) == evening
    assert wanted_start(row(plan=plan, start_at=evening + timedelta(hours=1)), NOON) == evening + timedelta(hours=1)
    assert wanted_start(row(plan=plan), evening + timedelta(days=1)) == evening + timedelta(days=1)
    assert wanted_start(row(), NOON) == NOON


def test_the_card_shows_the_start_in_the_zone_it_was_asked_in_and_what_holds_it() -> None:
    start = datetime(2026, 12, 1, 22, tzinfo=UTC)
    plan = signed("2026-12-01 22:00 Europe/Berlin", window="nights (daily 22:00–04:00 UTC)", frozen="year-end until 2027-01-04 08:00 UTC")
    assert shown_start(row(plan=plan, start_at=start)) == "2026-12-01 23:00 Europe/Berlin", "put off by an hour"
    fields = {one.label: one.value for one in start_fields(row(plan=plan, start_at=start))}
    assert fields == {
        "Starts": "2026-12-01 23:00 Europe/Berlin, in the window nights (daily 22:00–04:00 UTC)",
        "Frozen": "year-end until 2027-01-04 08:00 UTC",
    }
    assert not start_fields(row(plan=PLAN))
    assert not start_fields(row(plan=plan, start_at=start, status="running"))
