"""Thousands of messages for a Slack that fails at every third call: none is missing, none is there twice, and it is never hurried."""

import time

import pytest

from tests.automations.storms import Storm, figures, numbers, storm_of
from tests.hubs import World


async def weather(storm: Storm, *, seconds: float) -> None:
    """Everything is asked, shown, and ended; then it is counted in Slack itself."""
    began = time.monotonic()
    await storm.ask()
    await storm.until_calm(seconds=seconds)
    await storm.end()
    await storm.until_calm(seconds=seconds)
    print(figures(storm, time.monotonic() - began))
    shown = storm.shown()
    assert len(shown) == storm.channels
    for channel, messages in shown.items():
        cards = [one for one in messages if one.thread is None]
        assert len(cards) == storm.cards, f"{channel}: {len(cards)} cards\n{storm.history(channel)}"
        for card in cards:
            assert "cancelled" in card.content, f"{channel}: a card is not current: {card.content}"
            assert numbers(messages, card.ts) == list(range(1, storm.lines + 1)), storm.history(channel)
    assert min(storm.gaps()) >= 1.0
    assert storm.fake.faults > storm.size / 10


async def test_a_small_storm(world: World) -> None:
    async with storm_of(world, senders=2, seed=4, share=0.3, channels=60, cards=1, lines=1) as storm:
        await weather(storm, seconds=60)


async def test_a_post_of_which_nobody_knows_is_looked_for_until_somebody_could_look(world: World) -> None:
    async with storm_of(world, senders=1, seed=0, share=0, channels=1, cards=1, lines=0) as storm:
        storm.fake.fail_next("chat.postMessage", "drop_after")
        for fault in ("429", "500", "drop"):
            storm.fake.fail_next("conversations.history", fault)
        storm.fake.fail_next("chat.update", "429")
        await storm.ask()
        await storm.until_calm(seconds=60)
        assert len(storm.fake.calls("chat.postMessage")) == 1, storm.history("C0000")
        assert len(storm.fake.calls("conversations.history")) == 5


async def test_a_burst_of_votes_is_shown_at_once_and_never_hurries_slack(world: World) -> None:
    async with storm_of(world, senders=2, seed=0, share=0, channels=11, cards=1, lines=0, counted=True) as storm:
        await storm.ask()
        await storm.until_calm(seconds=60)
        for _ in range(3):
            await storm.vote()
        await storm.end()
        await storm.until_calm(seconds=60)
        assert [one.error for one in storm.fake.requests if one.error] == []
        assert min(storm.gaps()) >= 1.0
        assert len(storm.fake.calls("chat.update")) <= 2 * storm.size
        assert all("cancelled" in one.content for channel in storm.shown().values() for one in channel)


@pytest.mark.long
async def test_five_thousand_messages_over_five_hundred_channels(world: World) -> None:
    async with storm_of(world, senders=2, seed=5_000, share=0.3, channels=500, cards=2, lines=4) as storm:
        assert storm.size == 5_000
        await weather(storm, seconds=600)
