"""Alerts in Slack: one message for each group, edited in place, its history in the thread; buttons that ask like anybody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automations.announcing import announce
from automations.delivering import Slack as SlackSender
from automations.planning import plan_runs
from automations.receiving import receive
from automations.services import Services, open_services
from integrations.slack.clients import SlackClient
from store.hookdeliveries import NewDelivery, keep_deliveries
from store.triggers import add_trigger
from tests.bot.slack.doors import Slack
from tests.fakes.slack import Message
from tests.stories.alarms import notification

RUNBOOKS = "Ship: ship service=labels.service; version='v2'"


@dataclass
class Room:
    """The hub's workers, and what #ops shows of alerts."""

    slack: Slack
    services: Services
    sender: SlackSender
    trigger: UUID

    async def tell(self, body: bytes) -> None:
        async with self.services.statement() as session:
            await keep_deliveries(session, [NewDelivery(self.trigger, body.decode(), len(body))])
        await receive(self.services)
        await self.send()

    async def send(self) -> None:
        """Everything that waits is sent, what is to be edited in a moment, too."""
        for _ in range(20):
            async with self.services.transaction() as session:
                await session.execute(text("UPDATE messages SET due_at = countersign_now() WHERE due_at IS NOT NULL"))
                await session.execute(text("UPDATE lanes SET free_at = countersign_now() WHERE held_by IS NULL"))
            if not await announce(self.services, {"slack": self.sender}):
                return
            await asyncio.sleep(0)

    def cards(self) -> list[Message]:
        return [one for one in self.slack.fake.world.messages if "HighLatency" in one.content]

    def thread(self) -> list[Message]:
        return [one for one in self.slack.fake.world.messages if one.thread == self.cards()[0].ts]


@asynccontextmanager
async def room_of(slack: Slack) -> AsyncIterator[Room]:
    services = open_services(slack.world.settings(role="worker"), name="housekeeping:alerts", pool=4)
    run, trigger = await slack.waiting_run(), uuid4()
    async with services.transaction() as session:
        await add_trigger(
            session,
            trigger,
            name="prometheus",
            kind="alertmanager",
            sender="bearer",
            body={"channel": "C_OPS", "runbooks": RUNBOOKS, "run": "", "mapping": "", "only": ""},
            secret=services.hook_sealer.seal("a secret of thirty letters or so"),
            account="ada",
            holder="ada",
            run=run,
        )
    async with SlackClient(slack.fake.bot_token, base_url=slack.fake.api_url) as client:
        yield Room(slack, services, SlackSender(services, client), trigger)
    await services.close()


@pytest.fixture
async def room(slack: Slack) -> AsyncIterator[Room]:
    async with room_of(slack) as made:
        yield made


async def test_one_message_is_kept_current_and_its_thread_tells_the_rest(room: Room) -> None:
    await room.tell(notification("a", "b"))
    [card] = room.cards()
    assert "2 firing" in card.content
    await room.tell(notification("a", "b", "c"))
    assert [one.ts for one in room.cards()] == [card.ts]
    assert "3 firing" in room.cards()[0].content
    ada = room.slack.person("ada")
    assert (await ada.click(room.cards()[0], "Acknowledge")).ok
    await room.send()
    assert "acknowledged by ada" in room.cards()[0].content
    await room.tell(notification(ended=["a", "b", "c"]))
    assert "resolved" in room.cards()[0].content
    assert len(room.cards()) == 1
    assert [one.text for one in room.thread()] == ["acknowledged by ada", "3 ended (a; b; c); 0 firing, 3 ended"]


async def test_a_runbook_button_asks_first_and_its_card_comes_into_the_thread(room: Room) -> None:
    await room.tell(notification("a"))
    [card] = room.cards()
    clicked = await room.slack.person("ada").click(card, "Ship")
    assert clicked.ok
    assert clicked.confirm is not None
    assert "ship service=api version=v2" in clicked.confirm["text"]["text"]
    [run] = await room.slack.rows("SELECT * FROM runs WHERE reason LIKE 'alert A%'")
    assert (run.asker, run.door, run.origins["service"], run.status) == ("ada", "slack", "label", "submitted")
    assert run.place["thread"] == card.ts
    await plan_runs(room.services, [run.id])
    await room.send()
    assert any(f"#{run.number} ship" in one.content and "(from a label)" in one.content for one in room.thread())
