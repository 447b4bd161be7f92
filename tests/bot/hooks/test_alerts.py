"""Alerts of another system: one card for each group, kept current; people take them up; runbook buttons ask like anybody."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from bot.presses import Press
from countersign.invocations import Door
from countersign.replies import Button, Card, Reply
from kit.bots import Member
from store.databases import reading
from tests.bot.hooks.senders import SECRET, Post
from tests.stories.alarms import notification

SHOWN = {"authorization": f"Bearer {SECRET}"}


class Desk:
    """One trigger that shows alerts in a channel of its own."""

    def __init__(self, post: Post, name: str, sender: str) -> None:
        self.post, self.name, self.sender = post, name, sender

    async def tell(self, body: bytes) -> None:
        told = await self.post.send(self.name, body, SHOWN if self.sender == "bearer" else {})
        assert told.status_code == 202, told.text
        await self.post.bot.later("3s")  # edits of a card share one every two seconds

    async def messages(self) -> list[Any]:
        async with reading(self.post.bot.services.engine) as session:
            query = text("SELECT * FROM messages WHERE channel = :channel AND run_id IS NULL ORDER BY created_at, line")
            return list(await session.execute(query, {"channel": self.name}))

    async def cards(self) -> list[Card]:
        return [Card.model_validate(one.card) for one in await self.messages() if one.kind == "card"]

    async def card(self) -> Card:
        [card] = await self.cards()
        return card

    async def thread(self) -> list[str]:
        return [one.card["text"] for one in await self.messages() if one.follows is not None]

    async def press(self, who: Member, label: str, card: Card | None = None) -> Reply:
        found = next(one for one in (card or (await self.cards())[-1]).buttons if one.label == label)
        reply = await self._press(who, found)
        await self.post.bot.settle()
        return reply

    async def _press(self, who: Member, button: Button) -> Reply:
        click = Press(str(uuid4()), button.intent, button.target, Door.browser, digest=button.digest)
        return await self.post.bot.hub.press(await self.post.bot.person(who.name), click)


async def desk_of(post: Post, *, sender: str = "bearer", kind: str = "alertmanager", runbooks: str = "") -> Desk:
    name = f"a-{uuid4().hex[:12]}"
    post.bot.cast("ada", may=["countersign:alerts", "cart:fill"])
    run = await post.ada.submit("trigger alerts", name=name, sender=sender, channel=f"#{name}", secret=SECRET, kind=kind, runbooks=runbooks)
    await post.lin.approve(run)
    assert run.succeeded, run.outcome
    post.triggers[name] = UUID(await post.id_of(name))
    return Desk(post, name, sender)


async def test_one_card_for_a_group_and_a_thread_for_its_history(post: Post) -> None:
    desk = await desk_of(post)
    await desk.tell(notification("a", "b"))
    card = await desk.card()
    assert "HighLatency (service=api)" in card.title
    assert card.text == "Requests to api are slow"
    told = {one.label: one.value for one in card.fields}
    assert told["Alerts"] == "2 firing, 0 ended"
    assert told["Severity"] == "critical"
    await desk.tell(notification("a", "b"))
    await desk.tell(notification("a", "b", "c"))
    assert {one.label: one.value for one in (await desk.card()).fields}["Alerts"] == "3 firing, 0 ended"
    assert await desk.thread() == [], "while alerts come thick and fast the card alone says so"
    said = await desk.press(post.ada, "Acknowledge")
    assert said.text.endswith("is acknowledged.")
    card = await desk.card()
    assert card.tone == "waiting"
    assert "Acknowledge" not in {one.label for one in card.buttons}
    await desk.tell(notification(ended=["a", "b", "c"]))
    card = await desk.card()
    assert card.tone == "good"
    assert {one.label for one in card.buttons} == {"Details"}
    assert await desk.thread() == ["acknowledged by ada", "3 ended (a; b; c); 0 firing, 3 ended"]
    assert [row.state for row in await post.rows(desk.name)] == ["done"] * 4


async def test_what_is_told_late_or_twice_says_nothing_new(post: Post) -> None:
    desk = await desk_of(post)
    await desk.tell(notification("a"))
    await desk.tell(notification(ended=["a"]))
    await desk.tell(notification("a"))
    assert (await desk.card()).tone == "good", "it began before it ended, whenever it is told"
    await desk.tell(notification("a", later=60))
    assert (await desk.card()).tone == "bad", "it goes on, soon after"
    await desk.tell(notification(ended=["a"], later=60))
    await post.bot.later("1h")
    await desk.tell(notification("a", later=3_600))
    assert [one.tone for one in await desk.cards()] == ["good", "bad"]


async def test_what_is_ended_by_hand_comes_again_only_when_it_begins_anew(post: Post) -> None:
    desk = await desk_of(post)
    await desk.tell(notification("a"))
    await desk.press(post.ada, "Resolve")
    await desk.tell(notification("a"))
    assert [one.tone for one in await desk.cards()] == ["good"]
    late = await desk.press(post.ada, "Details")
    assert "resolved by ada" in late.code
    await desk.tell(notification("a", later=60))
    assert [one.tone for one in await desk.cards()] == ["good", "bad"]


async def test_a_runbook_button_asks_like_anybody(post: Post) -> None:
    """Ada may; its arguments come from labels and are marked; Eve may not; what a label says is checked like what is typed."""
    desk = await desk_of(post, runbooks="Fill: cart how=labels.cart | Broken: cart how=labels.nothing")
    await desk.tell(notification("a", cart="gone"))
    assert {one.label for one in (await desk.card()).buttons} == {"Acknowledge", "Resolve", "Fill", "Details"}
    said = await desk.press(post.ada, "Fill")
    assert "accepted; its plan follows" in said.text
    async with reading(post.bot.services.engine) as session:
        query = text("SELECT id, asker, origins, reason, place FROM runs WHERE command = 'cart' ORDER BY number DESC LIMIT 1")
        row = (await session.execute(query)).one()
    assert (row.asker, row.origins) == ("ada", {"how": "label"})
    assert row.reason.startswith("alert A")
    assert row.place["channel"] == desk.name
    run = await post.bot.watch(row.id, Reply())
    assert "how=gone (from a label)" in (await post.bot.card(run)).title
    post.bot.cast("eve", may=["countersign:use"])
    refused = await desk.press(Member(post.bot, "eve"), "Fill")
    assert "cart:fill" in refused.text
    assert "countersign:alerts" in (await desk.press(Member(post.bot, "eve"), "Acknowledge")).text
    old = await desk.card()
    await desk.tell(notification("a", "b", cart="other"))
    assert "has changed since" in (await desk.press(post.ada, "Fill", old)).text


async def test_runbooks_that_cannot_work_are_refused_when_they_are_written(post: Post) -> None:
    for runbooks, said in (
        ("Fill: nothing", "there is no command 'nothing'"),
        ("Fill: cart", "cart needs how"),
        ("Fill: cart how=payload.a", "knows no payload; there is annotations, labels"),
        ("cart how=labels.a", "write LABEL: COMMAND"),
    ):
        given = {"name": "never", "sender": "bearer", "channel": "ops", "secret": SECRET, "runbooks": runbooks}
        run = await post.ada.submit("trigger alerts", **given)
        assert said in run.outcome, run.outcome


async def test_events_as_pagerduty_takes_them(post: Post) -> None:
    desk = await desk_of(post, sender="pagerduty", kind="pagerduty")

    def event(action: str, **more: Any) -> bytes:
        return json.dumps({"routing_key": SECRET, "event_action": action, "dedup_key": "disk-7"} | more).encode()

    about = {"summary": "The disk is full", "source": "db-7", "severity": "error", "custom_details": {"free": 0}}
    told = await post.send(desk.name, event("trigger", payload=about))
    assert told.json() | {"delivery": ""} == {"status": "success", "message": "Event processed", "dedup_key": "disk-7", "delivery": ""}
    await desk.tell(event("trigger", payload=about))
    card = await desk.card()
    assert "The disk is full" in card.title
    await desk.tell(event("acknowledge"))
    assert (await desk.card()).tone == "waiting"
    await desk.tell(event("resolve"))
    assert (await desk.card()).tone == "good"
    assert [SECRET in (row.body or "") for row in await post.rows(desk.name)] == [False] * 4
    wrong = await post.send(desk.name, event("trigger", routing_key="x" * 32))
    assert wrong.status_code == 401
    assert (await post.send(desk.name, event("escalate"))).status_code == 422


@pytest.mark.parametrize("body", [b"{}", b'{"version":"4","groupKey":"g","alerts":[]}', b'{"version":"3","groupKey":"g","alerts":[{}]}'])
async def test_what_is_no_notification_is_refused(post: Post, body: bytes) -> None:
    desk = await desk_of(post)
    assert (await post.send(desk.name, body, SHOWN)).status_code == 422
    assert await desk.cards() == []
