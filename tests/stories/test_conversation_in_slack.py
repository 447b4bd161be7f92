"""Edit, Ask and Answer as people in Slack do them, over signed HTTP, with the real web process and real workers behind it."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from store.databases import reading
from tests.bot.slack.doors import populate, settings_of
from tests.bot.webs import served
from tests.fakes.slack import Message, SlackFake
from tests.fakes.slack.worlds import elements
from tests.hubs import World, disposing, until


@pytest.fixture
async def fake(world: World) -> AsyncIterator[SlackFake]:
    async with SlackFake("http", rate_limits=False) as slack:
        populate(slack)
        settings_of(world, slack)
        with world.workers():
            async with served(world) as web:
                slack.target_url = f"{web.address}/slack/events"
                yield slack


def beneath(fake: SlackFake, card: Message) -> list[str]:
    """The lines in the card's thread, in the order in which they were posted."""
    return [one.text for one in fake.messages(card.channel) if one.thread == card.ts]


def value_of(card: Message, intent: str) -> str:
    return next(str(one["value"]) for one in elements(card.blocks) if one.get("action_id", "").startswith(f"intent:{intent}:"))


async def shows(card: Message, words: str) -> None:
    async def look() -> bool:
        return words in card.content

    await until(look, what=f"the card shows {words!r}: {card.content}")


async def test_an_edit_in_slack_and_everybody_hears_of_it(fake: SlackFake, world: World) -> None:
    ada, lin, kim = (fake.user(f"U0{name}") for name in ("ADA", "LIN", "KIM"))
    await ada.slash("/ship", "api v2", channel="C_OPS")
    card = await fake.wait_message(channel="C_OPS", containing="waiting for approval")
    assert "ship service=api version=v2 env=staging (default)" in card.content
    old = value_of(card, "approve")
    await lin.click(card, "Edit")
    view = await fake.wait_view("U0LIN", containing="Change #")
    await lin.submit(view, {"version": "v3"})
    await fake.wait_view("U0LIN", containing="Changed version: v2 → v3")
    await shows(card, "changed by lin: version: v2 → v3")
    await shows(card, "Asked by: ada (changed by lin)")
    await fake.wait_message(channel="U0ADA", containing="lin changed version: v2 → v3.")
    await kim.forge_click("C_OPS", card.ts, action_id="intent:approve:0", value=old)
    await fake.wait_ephemeral("U0KIM", containing="The plan has changed since this card was shown")
    await lin.click(card, "Approve")
    await fake.wait_ephemeral("U0LIN", containing="You changed this request last")
    await kim.click(card, "Approve")
    await shows(card, "succeeded")
    async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
        lines = await session.scalars(text("SELECT unnest(lines) FROM log_chunks ORDER BY n"))
        assert list(lines) == ["api is at v3"]
    await fake.wait_for(lambda: len(beneath(fake, card)) == 2, what="both lines")
    assert beneath(fake, card) == ["lin changes version: v2 → v3", "kim approves"]
    assert len([one for one in fake.messages("C_OPS") if one.thread is None]) == 1


async def test_a_question_and_its_answer_in_slack(fake: SlackFake) -> None:
    ada, lin = fake.user("U0ADA"), fake.user("U0LIN")
    await ada.slash("/ship", "api v2", channel="C_OPS")
    card = await fake.wait_message(channel="C_OPS", containing="waiting for approval")
    await lin.click(card, "Details")
    details = await fake.wait_ephemeral("U0LIN", containing="ship service=api")
    await lin.click(details, "Ask")
    view = await fake.wait_view("U0LIN", containing="Your question")
    await lin.submit(view, {"text": "why <!channel> now?"})
    await fake.wait_view("U0LIN", containing="ada is asked")
    found = await fake.wait_for(lambda: [one for one in fake.direct_messages("U0ADA") if "Answer" in one.buttons], what="it")
    question: Message = found[0]
    assert "lin asks" in question.content
    await ada.click(question, "Answer")
    view = await fake.wait_view("U0ADA", containing="Your answer")
    await ada.submit(view, {"text": "it is broken"})
    await fake.wait_message(channel="U0LIN", containing="ada answers lin: it is broken")
    await fake.wait_for(lambda: len(beneath(fake, card)) == 2, what="question and answer")
    assert beneath(fake, card) == ["lin asks: why &lt;!channel&gt; now?", "ada answers lin: it is broken"]
    for place in ("U0LIN", "U0KIM", "U0ADA"):
        await _stand_beneath(fake, await fake.wait_message(channel=place, containing="Cannot be undone"))


async def test_a_typed_edit_opens_the_form_and_a_wrong_answer_stays_in_it(fake: SlackFake) -> None:
    ada = fake.user("U0ADA")
    await ada.slash("/ship", "api v2", channel="C_OPS")
    card = await fake.wait_message(channel="C_OPS", containing="waiting for approval")
    number = card.content.partition("#")[2].split()[0]
    outcome = await ada.slash("/cs", f"edit {number}", channel="C_OPS")
    assert outcome.ephemeral is not None
    assert outcome.ephemeral.buttons == ["Fill in"]
    view = await fake.wait_view("U0ADA", containing="Change #")
    await ada.close(view)
    await ada.click(outcome.ephemeral, "Fill in")
    view = await fake.wait_view("U0ADA", containing="Change #")
    await ada.submit(view, {"service": "api"})
    await fake.wait_view("U0ADA", containing="nothing was changed")


async def test_what_stands_beneath_is_posted_once_whatever_slack_says(fake: SlackFake) -> None:
    ada, lin = fake.user("U0ADA"), fake.user("U0LIN")
    await ada.slash("/ship", "api v2", channel="C_OPS")
    card = await fake.wait_message(channel="C_OPS", containing="waiting for approval")
    number = card.content.partition("#")[2].split()[0]
    await fake.wait_message(channel="U0LIN", containing="waiting for approval")
    fake.fail_next("chat.postMessage", "drop_after", times=2)
    fake.fail_next("chat.postMessage", "500", times=2)
    for words in ("one", "two", "three"):
        await lin.slash("/cs", f"comment {number} {words}", channel="C_OPS")
    await fake.wait_for(lambda: len(beneath(fake, card)) >= 3, what="all lines")
    assert beneath(fake, card) == ["lin says: one", "lin says: two", "lin says: three"]


async def _stand_beneath(fake: SlackFake, card: Message) -> None:
    await fake.wait_for(lambda: len(beneath(fake, card)) == 2, what=f"both lines beneath {card.channel}")
