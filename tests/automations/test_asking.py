"""Slack is asked for people and groups: what it says is made so, what it hints at is looked at, and its silence changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from automations.housekeeping import asking
from automations.housekeeping.asking import SlackFollower
from integrations.slack.clients import SlackClient
from integrations.slack.errors import SlackBusy
from kit.bots import Bot
from kit.fixtures import open_bot
from kit.servers import Servers
from store.databases import reading, transaction
from store.directories import HINT, add_word, find_directories
from store.people import Account, find_person, link_account
from tests.fakes.slack import SlackFake

POLICY: dict[str, Any] = {"groups": {"sre": [], "ops": []}, "directories": {"slack": {"groups": {"S0SRE": "sre", "S0OPS": "ops"}}}}


@dataclass
class Desk:
    """A hub whose cast has accounts in a fake Slack."""

    bot: Bot
    fake: SlackFake
    follower: SlackFollower

    async def read(self) -> None:
        """A turn, whether it is time or not."""
        await self.sql("UPDATE directories SET due_at = countersign_now()")
        await self.follower.read()

    async def sql(self, query: str) -> list[Any]:
        async with transaction(self.bot.owner) as session:
            result: Any = await session.execute(text(query))
            return list(result.all())

    async def groups(self, name: str) -> set[str]:
        async with reading(self.bot.services.engine) as session:
            person = await find_person(session, name)
        assert person is not None
        return set(person.groups) - {f"only-{name}"} if person.active else {"gone"}

    async def hint(self, user: str) -> None:
        async with transaction(self.bot.hub.engine) as session:
            await add_word(session, HINT, uuid4(), {"source": "slack", "user": user}, version=1, token=b"")


@pytest.fixture
async def desk(servers: Servers, tmp_path: Path) -> AsyncIterator[Desk]:
    fake = SlackFake("http", rate_limits=False)
    async with fake, open_bot(servers.fresh_database(), tmp_path) as bot, SlackClient(fake.bot_token, base_url=fake.api_url) as client:
        bot.cast("ada", "lin")
        bot.policy(**POLICY)
        for name in ("ada", "lin"):
            await bot.person(name)
            fake.add_user(f"U0{name.upper()}", name=name)
            async with transaction(bot.owner) as session:
                await link_account(session, Account("slack", fake.world.team, f"U0{name.upper()}"), name, by="test")
        yield Desk(bot, fake, SlackFollower(bot.services, client))


async def test_members_of_user_groups_are_members_of_the_groups_that_policy_names(desk: Desk) -> None:
    desk.fake.add_usergroup("S0SRE", handle="sre", users=["U0ADA", "U0LIN"])
    desk.fake.add_usergroup("S0OTHER", handle="ops", users=["U0ADA"])
    await desk.read()
    assert (await desk.groups("ada"), await desk.groups("lin")) == ({"sre"}, {"sre"})
    desk.fake.world.usergroups["S0SRE"].users.remove("U0LIN")
    await desk.read()
    assert (await desk.groups("ada"), await desk.groups("lin")) == ({"sre"}, set())
    desk.bot.policy(directories={})
    await desk.bot.person("ada")
    await desk.read()
    assert await desk.groups("ada") == set(), "what the policy does not name any more is nobody's"


async def test_a_missing_scope_keeps_what_was_said_last_and_is_shown(desk: Desk) -> None:
    desk.fake.add_usergroup("S0SRE", handle="sre", users=["U0ADA"])
    await desk.read()
    desk.fake.tokens.add_rotating("xoxb-less", "r", scopes=frozenset({"users:read"}))
    async with SlackClient("xoxb-less", base_url=desk.fake.api_url) as client:
        desk.follower = SlackFollower(desk.bot.services, client)
        desk.fake.account("U0LIN").deleted = True
        await desk.read()
    assert (await desk.groups("ada"), await desk.groups("lin")) == ({"sre"}, {"gone"})
    async with reading(desk.bot.services.engine) as session:
        assert [(one.source, one.error) for one in await find_directories(session)] == [("slack", "missing_scope")]


async def test_who_is_deactivated_is_gone_and_back_when_slack_says_so(desk: Desk) -> None:
    desk.fake.account("U0LIN").deleted = True
    await desk.read()
    assert await desk.groups("lin") == {"gone"}
    desk.fake.account("U0LIN").deleted = False
    await desk.read()
    assert await desk.groups("lin") == set()


async def test_a_hint_is_a_reason_to_ask_and_no_more(desk: Desk) -> None:
    await desk.hint("U0LIN")
    await desk.hint("U0NOBODY")
    await desk.follower.heed()
    assert await desk.groups("lin") == set(), "Slack says that she is there"
    desk.fake.account("U0LIN").deleted = True
    await desk.hint("U0LIN")
    await desk.follower.heed()
    assert await desk.groups("lin") == {"gone"}
    assert await desk.sql("SELECT 1 FROM directory_feed") == []


async def test_a_hint_outlives_slack_s_silence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: object) -> None:
        raise SlackBusy(30)

    desk.fake.account("U0LIN").deleted = True
    await desk.hint("U0LIN")
    with monkeypatch.context() as silent:
        silent.setattr(SlackClient, "user", busy)
        with pytest.raises(SlackBusy):
            await desk.follower.heed()
    await desk.follower.heed()
    assert await desk.groups("lin") == {"gone"}


async def test_pages_come_as_fast_as_slack_allows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = SlackClient.users, 0

    async def busy_once(client: SlackClient, cursor: str = "") -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise SlackBusy(0.01)
        return await whole(client, cursor)

    monkeypatch.setattr("integrations.slack.clients.USERS_A_PAGE", 2)
    monkeypatch.setattr(SlackClient, "users", busy_once)
    monkeypatch.setattr(asking, "PAGE_SECONDS", 0.01)
    desk.fake.account("U0LIN").deleted = True
    await desk.read()
    assert asked > 2
    assert await desk.groups("lin") == {"gone"}


async def test_one_process_at_a_time_asks(desk: Desk) -> None:
    await desk.read()
    calls = len(desk.fake.calls("users.list"))
    await desk.follower.read()
    assert len(desk.fake.calls("users.list")) == calls, "not before its time"
