"""A request withdrawn, an approval taken back in time or too late, a request in other hands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from countersign import RunStatus
from kit.bots import Bot
from store.claims import claim
from store.embedded import DatabaseUrls
from store.runs import Move, move
from tests.stories.ships import book, cast, fields, open_crew, row, told


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    async with open_crew(bot_database, tmp_path) as bot:
        yield bot


async def test_ada_withdraws_what_she_asked_for_and_nobody_else_does(crew: Bot, tmp_path: Path) -> None:
    ada, lin, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.approve(run)
    await lin.do(f"withdraw {run.id}", expect="Only ada, who asked for it, can withdraw run")
    await ada.do(f"withdraw {run.id} not needed any more", expect="is withdrawn; nothing was done")
    assert run.status == "cancelled"
    assert run.outcome == "Withdrawn by ada: not needed any more"
    assert [one for one in run.trail if one.startswith("withdraw")] == ["withdraw:refused", "withdraw:made"]
    await lin.approve(run, expect="does not wait for an approval any more")
    await ada.do(f"withdraw {run.id}", expect="has ended already: cancelled")
    assert (await crew.beneath(run))["@ada"] == ["lin approves", "ada withdraws the request: not needed any more"]


async def test_an_approved_request_is_withdrawn_before_it_begins(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea")
    async with crew.held():
        await lin.approve(run)
        await kim.approve(run)
        await ada.do(f"withdraw {run.id}", expect="nothing was done")
    await crew.refresh()
    assert run.status == "cancelled"
    assert book(tmp_path) == []


async def test_an_approval_is_taken_back_and_may_be_given_again(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.approve(run)
    await lin.do(f"takeback {run.id} let me think", expect="is taken back. 2 more people have to approve it.")
    assert (await fields(crew, run))["Approvals"] == "0 of 2"
    await lin.do(f"takeback {run.id}", expect="You have no vote on run")
    await kim.approve(run, expect="1 more person has to approve")
    await lin.approve(run, expect="it starts now")
    assert run.succeeded
    await lin.do(f"takeback {run.id}", expect="has ended already")
    assert (await crew.beneath(run))["ops"] == ["lin approves", "lin takes the approval back: let me think", "kim approves", "lin approves"]


async def test_an_approval_taken_back_before_a_worker_begins_stops_the_run(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea")
    async with crew.held():
        await lin.approve(run)
        await kim.approve(run, expect="it starts now")
        await kim.do(f"takeback {run.id}", expect="taken back in time")
        assert run.status == "awaiting_approval"
    await crew.refresh()
    assert book(tmp_path) == []
    assert run.trail[-3:] == ["run:queued", "run:awaiting_approval", "takeback:made"]
    await kim.approve(run, expect="it starts now")
    assert book(tmp_path) == ["tea to staging"]


async def test_when_the_time_to_decide_is_over_it_expires_instead(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    async with crew.held():
        run = await ada.say("ship tea")
        await lin.approve(run)
        await kim.approve(run)
        await crew.later("24h")
        await kim.do(f"takeback {run.id}", expect="the time to decide is over")
        assert run.status == "expired"
    await crew.refresh()
    assert book(tmp_path) == []


async def test_what_has_begun_goes_on_and_one_is_told_so(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.approve(run)
    async with crew.held():
        await kim.approve(run)
        async with crew.services.transaction() as session:
            versions = crew.services.registry.versions
            (held,) = await claim(session, [run.id], statuses=[RunStatus.queued], worker="w1", lease=3_600, versions=versions)
            begun = Move(run.id, RunStatus.running, by="countersign", attempt=held.attempt, keep_lease=True)
            assert await move(session, [begun])
        await kim.do(f"takeback {run.id}", expect="A worker has begun run")
        await ada.do(f"withdraw {run.id}", expect="A worker has begun run")
        await ada.do(f"edit {run.id} what=coffee", expect="has begun already")
        assert run.trail[-3:] == ["takeback:refused", "withdraw:refused", "edit:refused"]
        async with crew.services.transaction() as session:
            assert await move(session, [Move(run.id, RunStatus.succeeded, by="countersign", attempt=held.attempt)])


async def test_a_denial_stays(crew: Bot) -> None:
    crew.policy(rules=[{"name": "two", "command": "ship", "approve": {"by": "ship:approve", "count": 2, "deny": 2}}])
    ada, lin, *_ = cast(crew)
    run = await ada.say("ship tea")
    await lin.deny(run, reason="no")
    await lin.do(f"takeback {run.id}", expect="A denial is not taken back")


async def test_a_request_in_other_hands(crew: Bot, tmp_path: Path) -> None:
    ada, lin, kim, max_, eve = cast(crew)
    run = await ada.say("ship tea")
    await lin.approve(run)
    await lin.do(f"handover {run.id} lin", expect="Only ada, who asked for it, can hand run")
    await ada.do(f"handover {run.id} lin", expect="lin has voted on run")
    await ada.do(f"handover {run.id} nobody", expect="There is no person named nobody who could take it.")
    await ada.do(f"handover {run.id} kim", expect="is in the hands of kim now")
    assert (await row(crew, run)).handed_to == "kim"
    assert (await fields(crew, run))["Asked by"] == "ada (handed to kim)"
    assert "ada handed this over to you" in (await told(crew, "kim", run))[-1].text
    await kim.approve(run, expect="You answer for this request; someone else must approve it.")
    await kim.do(f"edit {run.id} where=prod", expect="Changed where")
    await lin.approve(run)
    await max_.approve(run, expect="it starts now")
    assert run.succeeded
    second = await ada.say("ship coffee")
    await ada.do(f"handover {second.id} eve", expect="in the hands of eve")
    await ada.do(f"handover {second.id} kim", expect="in the hands of kim")
    assert "in the hands of kim now" in (await told(crew, "eve", second))[-1].text
    await ada.do(f"handover {second.id} kim", expect="is in the hands of kim already")
    await ada.do(f"handover {second.id} ada", expect="is in your own hands again")
    await eve.cancel(second, expect="Only ada")
    await ada.do(f"handover {second.id} eve")
    await eve.cancel(second, expect="is cancelled")


async def test_not_even_where_editors_may_vote_does_who_holds_it(crew: Bot) -> None:
    crew.policy(rules=[{"name": "parcels", "command": "parcel", "approve": {"by": "ship:approve", "editor_may": True}}])
    ada, lin, *_ = cast(crew)
    run = await ada.say("parcel tea")
    await ada.do(f"handover {run.id} lin")
    await lin.approve(run, expect="You answer for this")
