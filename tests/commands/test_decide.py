"""Lin and Kim decide on what Ada asked for; Eve and Ada herself try as well."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from commands.authorizing import Refused
from commands.decide import Decided
from countersign import Approval
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.audits import find_trail
from store.databases import reading, transaction
from store.people import deactivate
from tests.commands.desks import DIGEST, Desk


def word(answer: Decided | Refused) -> str:
    return answer.reason if isinstance(answer, Refused) else answer.sentence


async def test_two_others_approve_and_it_starts(desk: Desk) -> None:
    run = await desk.waiting()
    assert await desk.decide("lin", run) == Decided("Approved; 1 more person has to approve.", RunStatus.awaiting_approval, 1)
    assert await desk.status(run) == "awaiting_approval"
    assert await desk.decide("kim", run) == Decided("Approved; it starts now.", RunStatus.queued, 0)
    row = await desk.row(run)
    assert (row.status, row.due_at is not None) == ("queued", True)
    assert await desk.trail(run, kinds="decision") == ["decision:approve", "decision:approve"]
    assert (await desk.trail(run))[-1] == "run:queued"


async def test_three_more_have_to(desk: Desk) -> None:
    run = await desk.waiting(rule=Approval(by="deploy:approve", count=3))
    assert word(await desk.decide("lin", run)) == "Approved; 2 more people have to approve."


async def test_one_denies_and_it_will_not_happen(desk: Desk) -> None:
    run = await desk.waiting()
    await desk.decide("lin", run)
    assert word(await desk.decide("kim", run, Verdict.deny, reason="not today")) == "Denied: run #1 will not happen."
    row = await desk.row(run)
    assert (row.status, row.outcome) == ("denied", "Denied by kim: not today")
    assert await desk.decide("max", run) == Refused("Run #1 was already denied by kim; it is denied.", "late_click")


async def test_ada_may_withdraw_but_not_approve(desk: Desk) -> None:
    run = await desk.waiting(asker="lin")
    assert word(await desk.decide("lin", run)) == "self_approval"
    assert await desk.status(run) == "awaiting_approval"
    assert word(await desk.decide("lin", run, Verdict.deny)) == "Denied: run #1 will not happen."


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_eve_has_no_vote(desk: Desk, verdict: Verdict) -> None:
    run = await desk.waiting()
    assert word(await desk.decide("eve", run, verdict)) == "missing_permission"
    assert await desk.status(run) == "awaiting_approval"
    assert await desk.trail(run, kinds="decision") == ["decision:refused"]


async def test_nobody_votes_twice_nor_changes_their_mind(desk: Desk) -> None:
    run = await desk.waiting()
    await desk.decide("lin", run)
    for verdict in Verdict:
        assert word(await desk.decide("lin", run, verdict)) == "dup_vote"
    assert await desk.status(run) == "awaiting_approval"


@pytest.mark.parametrize("shown", ["e" * 64, "none", DIGEST.upper(), DIGEST[:-1]])
async def test_what_was_not_shown_is_not_approved(desk: Desk, shown: str) -> None:
    run = await desk.waiting()
    assert await desk.decide("lin", run, digest=shown) == Refused(
        "The plan has changed since this card was shown; look at the new one.", "digest_mismatch"
    )
    assert word(await desk.decide("lin", run)).startswith("Approved")


async def test_what_expired_is_over(desk: Desk) -> None:
    run = await desk.waiting(expires=60)
    await desk.decide("lin", run)
    await desk.pass_time("60 seconds")
    assert await desk.decide("kim", run) == Refused("The request for run #1 has expired; ask again.", "expired")
    assert await desk.status(run) == "awaiting_approval"


@pytest.mark.parametrize("status", [RunStatus.queued, RunStatus.cancelled])
async def test_a_click_that_comes_late_changes_nothing(desk: Desk, status: RunStatus) -> None:
    run = await desk.waiting()
    await desk.moved(run, status)
    answer = await desk.decide("lin", run)
    assert word(answer) == "late_click"
    assert await desk.status(run) == status


async def test_a_run_that_waits_for_nobody(desk: Desk) -> None:
    run = await desk.run()
    assert await desk.decide("lin", run) == Refused("Run #1 does not wait for an approval; it is submitted now.", "nothing_to_decide")


async def test_a_run_that_is_hidden_and_one_that_is_not_there_are_told_the_same(desk: Desk) -> None:
    hidden = await desk.waiting(visibility="private")
    told = Refused("There is no such request.", "not_found_or_foreign")
    assert await desk.decide("eve", hidden) == told
    assert await desk.decide("eve", uuid4()) == told
    assert len(await desk.events("decision:refused")) == 2
    assert word(await desk.decide("lin", hidden)).startswith("Approved")


async def test_a_vote_counts_while_its_giver_may_vote(desk: Desk) -> None:
    run = await desk.waiting()
    await desk.decide("lin", run)
    async with transaction(desk.worker) as session:
        await deactivate(session, "lin")
    assert word(await desk.decide("kim", run)) == "Approved; 1 more person has to approve."
    assert word(await desk.decide("max", run)) == "Approved; it starts now."
    async with reading(desk.web) as session:
        said = [one.detail for one in await find_trail(session, run) if one.kind == "run:queued"]
    assert said[0]["because"] == "approved by kim, max"


async def test_who_left_between_the_card_and_the_click_has_no_vote(desk: Desk) -> None:
    run = await desk.waiting()
    lin = await desk.person("lin")
    async with transaction(desk.worker) as session:
        await deactivate(session, "lin")
    assert lin.active
    assert word(await desk.decide("lin", run)) == "actor_inactive"


async def test_an_exotic_reason_is_kept_and_cut(desk: Desk) -> None:
    run = await desk.waiting()
    await desk.decide("lin", run, Verdict.deny, reason="ä<!here>\u202e" + "x" * 2_000)
    assert (await desk.row(run)).outcome.startswith("Denied by lin: ä<!here>")
    (event,) = await desk.events("decision:deny")
    assert len(event.detail["reason"]) == 500


async def test_many_clicks_at_the_same_instant_have_one_outcome(desk: Desk) -> None:
    for _ in range(5):
        run = await desk.waiting()
        clicks: list[Any] = [
            desk.decide("lin", run),
            desk.decide("lin", run),
            desk.decide("kim", run),
            desk.decide("max", run, Verdict.deny),
            desk.decide("ada", run),
            desk.decide("eve", run),
        ]
        await asyncio.gather(*clicks)
        trail = await desk.trail(run)
        assert sum(one in ("run:queued", "run:denied") for one in trail) == 1
        assert sum(one.startswith("decision:") for one in trail) == len(clicks)
