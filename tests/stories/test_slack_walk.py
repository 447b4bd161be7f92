"""The walk of one command in Slack: from the signed request to the audit row, with the real web process and real workers."""

from typing import Literal

import pytest
from sqlalchemy import text

from store.databases import reading
from tests.bot.slack.doors import populate, settings_of
from tests.bot.webs import served
from tests.fakes.slack import Message, SlackFake
from tests.hubs import World, disposing


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_ada_asks_lin_approves_and_everybody_sees_it(world: World, mode: Literal["http", "socket"]) -> None:
    async with SlackFake(mode, rate_limits=False) as fake:
        populate(fake)
        settings_of(world, fake)
        with world.workers():
            async with served(world) as web:
                fake.target_url = f"{web.address}/slack/events"
                if mode == "socket":
                    await fake.wait_for(lambda: fake.sockets.connections, what="a Socket Mode connection")
                await walk(fake)
        async with disposing(world.engine(role="owner")) as engine, reading(engine) as session:
            rows = await session.execute(text("SELECT kind FROM audit_events WHERE run_id IS NOT NULL ORDER BY seq"))
            trail = [row.kind for row in rows]
    assert trail[0] == "run:submitted"
    assert "decision:approve" in trail
    assert trail[-1] == "run:succeeded"


async def walk(fake: SlackFake) -> None:
    ada, lin, eve = fake.user("U0ADA"), fake.user("U0LIN"), fake.user("U0EVE")
    await lin.slash("/cs", "whoami", channel="C_OPS")
    told = await ada.slash("/ship", "api v2 env=prod", channel="C_OPS")
    assert told.ephemeral is not None
    assert "accepted; its plan follows." in told.ephemeral.content
    card: Message = await fake.wait_message(channel="C_OPS", containing="waiting for approval")
    assert {"Approve", "Deny", "Details", "Cancel"} <= set(card.buttons)
    await ada.click(card, "Approve")
    await fake.wait_ephemeral("U0ADA", containing="someone else must approve")
    await eve.click(card, "Details")
    await fake.wait_ephemeral("U0EVE", containing="api to v2")
    await lin.click(card, "Approve")
    await fake.wait_ephemeral("U0LIN", containing="Approved; it starts now.")
    done = await fake.wait_message(channel="C_OPS", containing="succeeded")
    assert done is card
