"""Rehearsals: a command is carried out and undone where its author says that this does no harm, and its cards say when that last worked."""

from pathlib import Path
from typing import Any

import pytest

from countersign.replies import Card
from kit.bots import Bot, Member
from store.audits import search
from store.databases import reading
from tests.automations.carts import done

MAY = ("cart:fill", "countersign:rehearse", "countersign:use")


@pytest.fixture
def ada(crew: Bot) -> Member:
    (ada,) = crew.cast("ada", may=MAY)
    crew.cast("lin", may=["cart:approve"])
    return ada


def undo_on(card: Card) -> list[str]:
    return [one.value for one in card.fields if one.label == "Undo"]


async def test_a_rehearsal_carries_out_and_undoes_and_the_next_card_says_so(ada: Member, crew: Bot, trace: Path) -> None:
    assert undo_on(await crew.card(await ada.say("loader how=prod"))) == ["never exercised"]
    run = await ada.say("rehearse loader")
    assert (run.succeeded, done(trace)) == (True, "+canary +b -canary"), run.outcome
    assert run.summary == "rehearses loader and its undo: how=canary"
    assert run.outcome.startswith("loader worked and was undone: #"), run.outcome
    assert undo_on(await crew.card(await ada.say("loader how=prod"))) == ["verified today"]
    await crew.later("12d")
    assert undo_on(await crew.card(await ada.say("loader how=prod"))) == ["verified 12 days ago"]


async def test_the_catalogue_names_what_was_not_rehearsed_lately(ada: Member, crew: Bot, trace: Path) -> None:
    (max_,) = crew.cast("max", may=["countersign:audit"])

    async def marked(name: str) -> bool:
        answer = (await max_.say("catalogue")).answer
        assert answer is not None
        return any(line.startswith(f"{name} ") and "undo not verified for 30 days" in line for line in answer.code.splitlines())

    await crew.later("31d")
    assert (await marked("loader"), await marked("cart")) == (True, False)
    await ada.say("rehearse loader")
    assert not await marked("loader")
    await crew.later("31d")
    assert await marked("loader")


async def test_what_is_rehearsed_and_undone_are_runs_of_their_own_in_the_record(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("rehearse loader")
    assert run.succeeded
    async with reading(crew.services.engine) as session:
        found = [one.detail.get("command") for one in await search(session, kind="run:submitted", limit=3)]
    assert found == ["undo", "loader", "rehearse"]


async def test_an_undo_that_fails_is_a_rehearsal_that_failed_and_proves_nothing(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("rehearse leaker")
    assert (run.status, done(trace)) == ("failed", "+canary !")
    assert "undo was failed: fail(words=it is broken): it is broken" in run.outcome


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("rehearse cart", "cart declares no safe target, so it is not rehearsed; its author declares one with rehearsal=…."),
        ("rehearse nothing", "There is no command 'nothing' that can be rehearsed."),
        ("rehearse help", "There is no command 'help' that can be rehearsed."),
    ],
)
async def test_what_is_not_rehearsed_is_refused_in_a_sentence(ada: Member, trace: Path, typed: str, said: str) -> None:
    run = await ada.say(typed)
    assert (run.status, run.outcome, done(trace)) == ("failed", said, "")


async def test_who_may_not_ask_for_the_command_does_not_rehearse_it(crew: Bot, trace: Path) -> None:
    (kim,) = crew.cast("kim", may=["countersign:rehearse"])
    run = await kim.say("rehearse loader")
    assert (run.status, done(trace)) == ("failed", "")
    assert "cart:fill" in run.outcome
    (eve,) = crew.cast("eve", may=["cart:fill"])
    assert (await eve.ask("rehearse loader")).refused == "missing_permission"


async def test_a_rehearsal_takes_the_approvals_that_policy_asks_for_its_target(ada: Member, crew: Bot, trace: Path) -> None:
    crew.policy(rules=[{"name": "two eyes", "command": "loader", "approve": {"by": "cart:approve"}}])
    run = await ada.say("rehearse loader")
    assert (run.status, done(trace)) == ("waiting", "")


async def test_a_weekly_rehearsal_by_a_service_account(ada: Member, crew: Bot, trace: Path) -> None:
    policy: dict[str, Any] = {
        "service_accounts": {"svc-cart": {"groups": ["robots"]}},
        "roles": {"rehearser": list(MAY)},
        "groups": {"robots": ["rehearser"]},
    }
    crew.cast("ada", may=["countersign:schedule"])
    crew.policy(**policy)
    added = await ada.say("schedule add rehearsals '0 6 * * 1' 'rehearse loader' svc-cart")
    if added.status == "awaiting_approval":
        (max_,) = crew.cast("max", may=["countersign:approve"])
        await max_.approve(added)
    assert added.succeeded, added.outcome
    for _ in range(2):
        assert (await ada.say("schedule run rehearsals")).succeeded
        await crew.later("1m")
    assert done(trace).split() == ["+canary", "+b", "-canary"] * 2
