"""What a step asks, in Slack: a button opens the form, what does not fit stays in it, and who is not asked is told so alone."""

from uuid import UUID

import pytest

from commands.taskcards import card_of_task
from countersign.replies import Reply
from countersign.runs import RunStatus
from integrations.slack.blocks import card_blocks
from store.databases import reading, transaction
from store.runs import Move, find_run, move
from store.tasks import NewTask, find_task, open_task
from tests.bot.slack.doors import Slack
from tests.fakes.slack import Message
from tests.hubs import disposing

ROWS = [{"item": "rope", "price": 12}, {"item": "lamp", "price": 40}]


async def opened(slack: Slack, **asked: object) -> UUID:
    """A task for Lin, of a run that waits for it."""
    run = await slack.waiting_run()
    whole = {"kind": "done", "title": "Look at it", "who": ["lin"], "escalate_to": []} | asked
    task = NewTask(run, 1, 0, whole, assignees=["lin"])
    async with disposing(slack.world.engine()) as engine, transaction(engine) as session:
        for status in (RunStatus.queued, RunStatus.running, RunStatus.waiting):
            assert await move(session, [Move(run, status, by="countersign")])
        assert await open_task(session, task)
    return task.id


async def shown(slack: Slack, task: UUID) -> Message:
    """The task's card, as the sender posts it."""
    async with disposing(slack.world.engine()) as engine, reading(engine) as session:
        row = await find_task(session, task)
        assert row is not None
        run = await find_run(session, row.run_id)
        assert run is not None
    card = card_of_task(row, run)
    return slack.fake.world.add_message(slack.fake.world.channel("C_OPS"), card.fallback, card_blocks(card))


async def answer_of(slack: Slack, task: UUID) -> object:
    [row] = await slack.rows("SELECT answer FROM tasks WHERE id = :id", id=task)
    return row.answer


async def test_a_table_is_reviewed_in_a_form(slack: Slack) -> None:
    task = await opened(slack, kind="review", rows=ROWS, edit=["price"])
    lin = slack.person("lin")
    assert (await lin.click(await shown(slack, task), "Review")).ok
    view = await slack.fake.wait_view("U0LIN", containing="1. item: rope, price: 12")
    await lin.submit(view, {"row1": "reject", "row2": "accept", "row2.price": "45"})
    assert "goes on with it" in slack.fake.last_view("U0LIN").content
    sorted_out = {"accepted": [{"item": "lamp", "price": 45}], "rejected": [ROWS[0]], "verdicts": ["reject", "accept"]}
    assert await answer_of(slack, task) == {"by": "lin"} | sorted_out
    [run] = await slack.rows("SELECT status, due_at FROM runs WHERE status = 'running'")
    assert run.due_at is not None, "a worker may take it"


@pytest.mark.parametrize(("kind", "button", "answer"), [("done", "Done", {"note": ""}), ("choice", "blue", {"choice": "blue"})])
async def test_a_button_may_be_the_answer(slack: Slack, kind: str, button: str, answer: dict[str, str]) -> None:
    task = await opened(slack, kind=kind, choices=["red", "blue"] if kind == "choice" else [])
    await slack.person("lin").click(await shown(slack, task), button)
    [reply] = await slack.replies()
    assert "goes on with it" in Reply.model_validate(reply.card).text
    assert await answer_of(slack, task) == {"by": "lin", **answer}


async def test_who_is_not_asked_is_told_so_alone_and_nobody_else_hears(slack: Slack) -> None:
    task = await opened(slack)
    await slack.person("eve").click(await shown(slack, task), "Done")
    [reply] = await slack.replies()
    assert (reply.person, Reply.model_validate(reply.card).text) == ("eve", "This is asked of lin; you may not answer it.")
    assert await answer_of(slack, task) is None
    assert [one["refused"] for one in await slack.audit("task:refused")] == ["not_asked"]


async def test_what_does_not_fit_stays_in_the_form(slack: Slack) -> None:
    inputs = [{"name": "customer", "label": "Customer"}, {"name": "size", "label": "Size", "kind": "choice", "choices": ["small", "large"]}]
    task = await opened(slack, kind="form", inputs=inputs)
    lin = slack.person("lin")
    await lin.click(await shown(slack, task), "Answer")
    view = await slack.fake.wait_view("U0LIN", containing="Customer")
    sent = await lin.submit(view, {"customer": "  ", "size": "small"})
    assert sent.errors == {"customer": "is required"}
    assert await answer_of(slack, task) is None
    await lin.submit(view, {"customer": "Acme", "size": "small"})
    assert await answer_of(slack, task) == {"by": "lin", "answers": {"customer": "Acme", "size": "small"}}


async def test_it_is_in_app_home_and_passed_on_there(slack: Slack) -> None:
    task = await opened(slack)
    lin = slack.person("lin")
    await lin.open_home()
    home = await slack.fake.wait_for(lambda: slack.fake.home("U0LIN"), what="App Home")
    assert "Look at it" in home.content
    await lin.click(home, "Ask somebody else")
    view = await slack.fake.wait_view("U0LIN", containing="Person, or @group")
    await lin.submit(view, {"text": "kim"})
    [row] = await slack.rows("SELECT assignees, assigned_by FROM tasks WHERE id = :id", id=task)
    assert (row.assignees, row.assigned_by) == (["kim"], "lin")
