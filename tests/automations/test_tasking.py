"""Steps that people do: who may answer, what becomes of the answer, and what time does when nobody does. The examples are the docs' own."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from bot.presses import Press
from countersign import RunStatus
from countersign.invocations import Door
from countersign.replies import Card
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.tasks import TaskRow, find_run_tasks

PAGE = Path(__file__).parents[2] / "docs" / "authors" / "human-steps.md"
MORE = '''
from countersign import Context, Plan, PlanningContext, StepFailed, ask_choice, ask_done, command, step


@step()
async def put(ctx: Context) -> None:
    """Puts it in."""


@step()
async def take(ctx: Context) -> None:
    """Takes it out."""


@command("wait", permission="disks:swap", risk="medium")
async def wait(ctx: PlanningContext, who: str = "lin") -> Plan:
    """Ask somebody who may never answer."""
    return Plan("waits", put().undone_by(take()), ask_done(who, "Look", give_up="2h"))


@command("secretly", permission="disks:swap", risk="medium", visibility="private")
async def secretly(ctx: PlanningContext) -> Plan:
    """Ask somebody about what nobody else may see."""
    return Plan("asks", ask_choice("lin", "Which one?", ["this", "that"]))
'''


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada asks; Lin leads, Sue supports, Eve is neither; Kim joins and leaves."""
    write_commands(tmp_path / "commands")
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        gather(bot)
        yield bot


def write_commands(folder: Path) -> None:
    folder.mkdir()
    for number, code in enumerate([*re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL), MORE]):
        (folder / f"people{number}.py").write_text(f'"""An example."""\n{code}')


def gather(bot: Bot) -> None:
    bot.cast("ada", may=["prices:change", "disks:swap", "support:ask"])
    bot.cast("lin", "sue", "kim", "eve")
    bot.policy(people={"lin": {"groups": ["leads"]}, "sue": {"groups": ["support"]}})


async def tasks(bot: Bot, run: RunHandle) -> list[TaskRow]:
    async with reading(bot.services.engine) as session:
        return await find_run_tasks(session, run.id, revision=1)


async def answered(bot: Bot, name: str, run: RunHandle, expect: str = "", **answers: str) -> str:
    task = (await tasks(bot, run))[-1]
    return await Member(bot, name).send("task", task.id, expect=expect, **answers)


async def told(bot: Bot, name: str, run: RunHandle) -> list[Card]:
    """The cards about the run's tasks that this person was sent alone."""
    targets = {str(one.id) for one in await tasks(bot, run)}
    cards = [Card.model_validate(one.card["card"]) for one in await bot.messages(name) if one.card and one.card.get("card")]
    return [one for one in cards if targets & {button.target for button in one.buttons}]


async def test_a_table_is_reviewed_and_only_what_was_accepted_is_written(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/prices autumn")
    assert run.status is RunStatus.waiting
    card = await crew.card(run)
    assert "Waits: @leads to answer “Prices for autumn”, due 2" in card.text
    assert "✓ find_prices(season=autumn)" in card.code
    (task,) = await tasks(crew, run)
    assert {one.intent: one.target for one in card.buttons}["task"] == str(task.id)
    (asked,) = await told(crew, "lin", run)
    assert (asked.title, asked.code) == (f"#{card.title.split()[0][1:]}: Prices for autumn", "item: rope, price: 12\nitem: lamp, price: 40")
    await answered(crew, "lin", run, **{"row1": "reject", "row2": "accept", "row2.price": "45"}, expect="Thank you")
    assert (run.status, run.result) == (RunStatus.succeeded, "lamp=45")
    assert [one for one in run.trail if one.startswith("task:")] == ["task:opened", "task:answered"]
    beneath = await crew.beneath(run)
    assert {one for lines in beneath.values() for one in lines} == {
        "ada asks @leads: Prices for autumn",
        "lin answers “Prices for autumn”: 1 accepted, 1 rejected",
    }


async def test_only_who_is_asked_at_that_moment_answers_and_others_are_told_so_alone(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/prices autumn")
    for name in ("ada", "sue", "eve"):
        await answered(crew, name, run, expect="This is asked of @leads; you may not answer it.")
    crew.policy(people={"lin": {}, "kim": {"groups": ["leads"]}})
    await answered(crew, "lin", run, expect="you may not answer it", row1="accept", row2="accept")
    assert run.status is RunStatus.waiting
    await answered(crew, "kim", run, expect="Thank you")
    await answered(crew, "kim", run, expect="kim has answered this already")
    assert run.succeeded
    assert run.trail.count("task:refused") == 5


async def test_an_answer_that_does_not_fit_is_asked_for_again(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/support 'it is slow'")
    await answered(crew, "sue", run, expect="customer: is required", customer=" ")
    await answered(crew, "sue", run, expect="is not asked for", customer="Acme", other="x")
    await answered(crew, "sue", run, expect="Thank you", customer="Acme")
    assert run.status is RunStatus.waiting
    await answered(crew, "sue", run, expect="should be 'network' or 'billing'", choice="kitchen")
    await Member(crew, "sue").do(f"task answer {run.id} billing", expect="Thank you")
    assert (run.status, run.result) == (RunStatus.succeeded, "ticket for billing: Acme, it is slow")


async def test_a_task_is_in_the_inbox_until_it_is_done(crew: Bot) -> None:
    run = await Member(crew, "ada").say("disk swap 7")
    assert "Swap the disk in rack 7" in (await Member(crew, "lin").ask("inbox")).reply.code
    assert "Swap the disk" not in (await Member(crew, "sue").ask("inbox")).reply.code
    await Member(crew, "lin").do(f"task answer {run.id} 'was loose'", expect="Thank you")
    assert run.succeeded
    assert "Swap the disk in rack 7" not in (await Member(crew, "lin").ask("inbox")).reply.code
    (row,) = await tasks(crew, run)
    assert (row.state, row.answer) == ("answered", {"by": "lin", "note": "was loose"})


async def test_it_is_reminded_and_escalated_once_it_is_overdue(crew: Bot) -> None:
    crew.policy(people={"kim": {"groups": ["leads"]}})
    run = await Member(crew, "ada").say("disk swap 7")
    for _ in range(3):
        await crew.later("1h")
    assert run.trail.count("task:reminded") == 3
    assert len([one for one in await told(crew, "lin", run) if one.text.startswith("A reminder.")]) == 3
    assert not await told(crew, "kim", run)
    await crew.later("1h")
    assert (run.trail.count("task:escalated"), run.trail.count("task:reminded")) == (1, 3)
    assert [one.text.split("\n")[0] for one in await told(crew, "kim", run)] == ["This is overdue."]
    assert "Waits: lin or @leads to answer" in (await crew.card(run)).text
    await answered(crew, "kim", run, expect="Thank you")
    assert run.succeeded
    await crew.later("5h")
    assert run.trail.count("task:reminded") == 3


async def test_it_is_passed_on_by_whom_it_concerns(crew: Bot) -> None:
    run = await Member(crew, "ada").say("disk swap 7")
    await Member(crew, "eve").do(f"task assign {run.id} eve", expect="you may not answer it")
    await Member(crew, "lin").do(f"task assign {run.id} nobody", expect="There is nobody who is nobody")
    await Member(crew, "lin").do(f"task assign {run.id} @support", expect="@support is asked now")
    assert [one.text.split("\n")[0] for one in await told(crew, "sue", run)] == ["lin asks you instead of lin."]
    await answered(crew, "lin", run, expect="This is asked of @support")
    await Member(crew, "ada").do(f"task assign {run.id} kim", expect="kim is asked now")
    await answered(crew, "kim", run, expect="Thank you")
    assert run.succeeded
    assert [one for one in run.trail if one.startswith("task:")] == [
        "task:opened", "task:refused", "task:refused", "task:assigned", "task:refused", "task:assigned", "task:answered",
    ]  # fmt: skip


async def test_what_nobody_answers_fails_in_time_and_is_undone(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/wait")
    await crew.later("1h59m")
    assert not run.trail.count("task:given_up")
    await crew.later("1m")
    assert run.status is RunStatus.rolled_back
    assert "nobody answered: lin" in run.outcome
    await answered(crew, "lin", run, expect="This is not asked any more")


async def test_nobody_there_to_ask_fails_at_once(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/wait who=@ghosts")
    assert run.status is RunStatus.rolled_back
    assert "there is nobody who could do this: @ghosts" in run.outcome


async def test_of_a_private_run_whoever_is_asked_sees_the_question_alone(crew: Bot) -> None:
    run = await Member(crew, "ada").say("/secretly")
    await answered(crew, "eve", run, expect="There is no such run.", choice="this")
    (task,) = await tasks(crew, run)
    await Member(crew, "lin")._press(run, "details", "There is no such run")
    await Member(crew, "lin").send("task", task.id, expect="Thank you", choice="that")
    assert run.result == {"by": "lin", "choice": "that"}


async def test_two_answers_at_the_same_instant_count_once(crew: Bot) -> None:
    crew.policy(people={"kim": {"groups": ["leads"]}})
    run = await Member(crew, "ada").say("/prices autumn")
    (task,) = await tasks(crew, run)

    async def click(name: str) -> str:
        press = Press(str(uuid4()), "task", str(task.id), Door.browser, answers={})
        return (await crew.hub.press(await crew.person(name), press)).text

    said = await asyncio.gather(*(click(name) for name in ("lin", "kim") * 4))
    assert sum("Thank you" in one for one in said) == 1
    await crew.refresh()
    assert run.succeeded
    assert run.trail.count("task:answered") == 1


async def test_it_survives_a_restart_of_everything_and_a_cancel_ends_it(crew: Bot, bot_database: DatabaseUrls, tmp_path: Path) -> None:
    first, second = await Member(crew, "ada").say("/prices autumn"), await Member(crew, "ada").say("/wait")
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as again:
        gather(again)
        there = [await again.watch(one.id, one.reply) for one in (first, second)]
        assert [one.status for one in there] == [RunStatus.waiting, RunStatus.waiting]
        await answered(again, "lin", there[0], expect="Thank you")
        assert there[0].succeeded
        await Member(again, "ada").cancel(there[1], expect="is asked to stop")
        assert there[1].status is RunStatus.interrupted
        await answered(again, "lin", there[1], expect="This is not asked any more")
