"""Runs that have ended are taken back, or gone on with, by runs of their own."""

from pathlib import Path

import pytest

from countersign.replies import Card
from kit.bots import Bot, Member, RunHandle
from tests.automations.carts import done


@pytest.fixture
def ada(crew: Bot) -> Member:
    (ada,) = crew.cast("ada", may=["cart:fill", "cart:weigh", "countersign:use"])
    crew.cast("lin", may=["cart:approve", "countersign:use"])
    crew.cast("eve", may=["countersign:use"])
    return ada


async def number(crew: Bot, run: RunHandle) -> str:
    return (await crew.card(run)).title.split()[0]


async def test_a_run_is_undone_once_by_a_run_of_its_own(ada: Member, crew: Bot, trace: Path) -> None:
    run = await ada.say("course how=loop")
    first = await number(crew, run)
    undoing = await ada.say(f"undo {first}")
    assert undoing.succeeded, undoing.outcome
    assert done(trace) == "+a +a! +b +b! +c +c! -c -b -a"
    assert undoing.summary == f"undoes {first} course: fills a cart: loop"
    again = await ada.say(f"undo {first}")
    assert again.status == "failed"
    assert again.outcome.startswith(f"{await number(crew, undoing)} does that, and is succeeded")
    assert run.succeeded
    assert done(trace).endswith("-c -b -a")


async def test_an_undo_is_approved_as_the_first_run_was(ada: Member, crew: Bot, trace: Path) -> None:
    (lin,) = crew.cast("lin")
    run = await ada.say("weighty how=x")
    await lin.approve(run)
    undoing = await ada.say(f"undo {await number(crew, run)}")
    assert (undoing.status, done(trace)) == ("awaiting_approval", "+wx")
    await ada.approve(undoing, expect="someone else")
    await lin.approve(undoing)
    assert (undoing.succeeded, done(trace)) == (True, "+wx -wx")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("undo {}", "This needs the permission cart:fill"),
        ("resume {}", "resume is for runs that are failed, cancelled"),
        ("undo 999999", "There is no such run."),
    ],
)
async def test_who_may_not_or_need_not_is_told_so(ada: Member, crew: Bot, trace: Path, line: str, said: str) -> None:
    (eve,) = crew.cast("eve")
    run = await ada.say("course how=loop")
    refused = await (eve if "undo" in line else ada).say(line.format(await number(crew, run)))
    assert refused.status == "failed"
    assert said in refused.outcome
    assert "-" not in done(trace)


@pytest.mark.parametrize(
    ("how", "step", "traced"),
    [
        ("half", "", "+a ?a +a ~ ~ +z"),
        ("half", "step=2", "+a ?a +a ~ ?a +a ~ +z"),
        ("half", "step=1", "+a ?a +a ~ +a ?a +a ~ +z"),
        ("half beside", "", "+a +g ~ ~ +z"),
    ],
)
async def test_a_failed_run_is_gone_on_with_and_keeps_earlier_results(
    ada: Member, crew: Bot, trace: Path, how: str, step: str, traced: str
) -> None:
    run = await ada.say(f"course how='{how}'")
    assert run.status == "failed"
    goes_on = await ada.say(f"resume {await number(crew, run)} {step}")
    assert goes_on.succeeded, goes_on.outcome
    assert done(trace) == traced
    again = await ada.say(f"resume {await number(crew, run)}")
    assert "does that, and is succeeded" in again.outcome


async def test_a_step_that_was_not_reached_is_no_place_to_begin(ada: Member, crew: Bot) -> None:
    run = await ada.say("course how=half")
    refused = await ada.say(f"resume {await number(crew, run)} step=4")
    assert refused.outcome == "step: should be from 1 to 3, the first that was not done."


async def half_weighed(ada: Member, crew: Bot) -> str:
    """The number of a run that Lin approved and that failed at its second step."""
    (lin,) = crew.cast("lin")
    run = await ada.say("weighty how=half")
    await lin.approve(run)
    assert run.status == "failed"
    return await number(crew, run)


async def test_the_approvals_hold_for_exactly_what_is_left(ada: Member, crew: Bot, trace: Path) -> None:
    first = await half_weighed(ada, crew)
    goes_on = await ada.say(f"resume {first}")
    assert (goes_on.succeeded, done(trace)) == (True, "+w ~ ~")
    assert [one.detail["because"] for one in await crew.trail(goes_on) if one.kind == "run:queued"] == [
        f"the approvals of {first} hold for what is left of it"
    ]


@pytest.mark.parametrize("how", ["more than is left", "somebody else", "an approver who left", "too late"])
async def test_for_anything_else_people_are_asked_again(ada: Member, crew: Bot, trace: Path, how: str) -> None:
    (kim,) = crew.cast("kim", may=["cart:weigh", "countersign:use"])
    first = await half_weighed(ada, crew)
    if how == "an approver who left":
        crew.policy(people={"lin": {"active": False}})
    if how == "too late":
        await crew.later("3d")
    goes_on = await (kim if how == "somebody else" else ada).say(f"resume {first}{' step=1' if how == 'more than is left' else ''}")
    assert (goes_on.status, done(trace)) == ("awaiting_approval", "+w ~")


async def test_approvals_that_end_before_it_begins_hold_no_longer(ada: Member, crew: Bot, trace: Path) -> None:
    first = await half_weighed(ada, crew)
    async with crew.held():
        goes_on = await ada.say(f"resume {first}")
        assert goes_on.status == "queued"
        await crew.later("3d")
    await crew.refresh()
    assert (goes_on.status, done(trace)) == ("awaiting_approval", "+w ~")


async def test_a_card_says_when_its_undo_last_worked(ada: Member, crew: Bot) -> None:
    def undo_on(card: Card) -> list[str]:
        return [one.value for one in card.fields if one.label == "Undo"]

    run = await ada.say("guinea how=y")
    assert undo_on(await crew.card(run)) == ["never exercised"]
    (lin,) = crew.cast("lin")
    await lin.approve(run)
    assert run.status == "rolled_back"
    assert undo_on(await crew.card(await ada.say("guinea how=z"))) == ["verified today"]
    await crew.later("12d")
    assert undo_on(await crew.card(await ada.say("guinea how=z"))) == ["verified 12 days ago"]
