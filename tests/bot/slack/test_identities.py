"""Who may act: full members of the workspace, by immutable id, as Slack knows them within a minute."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bot.slack import accounts
from countersign.invocations import Door, Invocation, Place
from store.embedded import DatabaseUrls
from store.people import find_person
from tests.bot.slack.doors import Slack, slack_of
from tests.hubs import POLICY, World


async def test_a_full_member_is_linked_once_by_email(slack: Slack) -> None:
    for _ in range(2):
        await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    [linked] = await slack.audit("account:linked")
    assert linked == {"actor": "ada", "platform": "slack", "team": "T1", "account": "U0ADA", "by": "e-mail"}
    slack.fake.account("U0ADA").email = "max@example.test"
    told = await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    assert told.ephemeral is not None
    assert "You are ada." in told.ephemeral.content


async def test_a_second_account_is_not_linked(slack: Slack) -> None:
    await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    slack.fake.add_user("U0ADA2", name="ada", email="ada@example.test")
    slack.fake.world.channel("C_OPS").members.add("U0ADA2")
    told = await slack.fake.user("U0ADA2").slash("/cs", "whoami", channel="C_OPS")
    assert told.ephemeral is not None
    assert "already uses another account" in told.ephemeral.content
    assert len(await slack.audit("account:linked")) == 1


@pytest.mark.parametrize(
    ("flags", "reason", "sentence"),
    [
        ({"guest": "single"}, "guest_denied", "Guests cannot run this"),
        ({"guest": "multi"}, "guest_denied", "Guests cannot run this"),
        ({"bot": True}, "unknown_account", "Apps and bots"),
        ({"stranger": True}, "external_denied", "Only members of this company"),
        ({"email": "zoe@example.test"}, "unknown_account", "belongs to nobody"),
        ({"email": None}, "unknown_account", "belongs to nobody"),
    ],
)
async def test_others_are_refused_with_a_sentence(slack: Slack, flags: dict[str, Any], reason: str, sentence: str) -> None:
    slack.fake.add_user("U0ZOE", name="zoe", **flags)
    slack.fake.world.channel("C_OPS").members.add("U0ZOE")
    told = await slack.fake.user("U0ZOE").slash("/cs", "whoami", channel="C_OPS")
    assert told.ephemeral is not None
    assert sentence in told.ephemeral.content
    [refused] = await slack.audit("request:refused")
    assert (refused["actor"], refused["reason"], refused["door"]) == ("slack:T1:U0ZOE", reason, "slack")


@pytest.mark.parametrize("payload_team", ["actor", "installer", "null"])
async def test_somebody_of_another_company_clicks_for_nothing(world: World, payload_team: str) -> None:
    async with slack_of(world, payload_team=payload_team) as slack:
        slack.fake.add_user("U0MAL", team="T9", name="lin", email="lin@example.test")
        slack.fake.world.channel("C_OPS").members.add("U0MAL")
        run = await slack.waiting_run()
        await slack.fake.user("U0MAL").click(await slack.card(run), "Approve")
        assert await slack.status(run) == "awaiting_approval"
        [refused] = await slack.audit("request:refused")
        assert (refused["actor"], refused["reason"]) == ("slack:T9:U0MAL", "external_denied")
        [reply] = await slack.replies()
        assert "Only members of this company" in reply.card["text"]


async def test_slack_is_believed_and_not_the_payload(slack: Slack) -> None:
    """The payload says T1, users.info says T9."""
    zoe = slack.fake.add_user("U0ZOE", name="zoe", email="zoe@example.test")
    slack.fake.world.channel("C_OPS").members.add("U0ZOE")
    told = await zoe.slash("/cs", "whoami", channel="C_OPS")
    assert told.request is not None
    slack.fake.account("U0ZOE").team = "T9"
    with patch.object(accounts, "KEEP_SECONDS", 0.0):
        answer = await slack.fake.send(told.request.aged(0))
    assert "Only members of this company" in answer.text
    assert [one["reason"] for one in await slack.audit("request:refused")] == ["unknown_account", "external_denied"]


async def test_only_listed_teams_may_act(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> None:
    world = World(database, redis_url, tmp_path, policy=POLICY.replace("link_by_email: true", "link_by_email: true, teams: [T7]"))
    await world.prepare()
    async with slack_of(world) as slack:
        told = await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
        assert told.ephemeral is not None
        assert "Only members of this company" in told.ephemeral.content


async def test_a_deactivated_account_stops_within_a_minute(slack: Slack) -> None:
    ada = slack.person("ada")
    told = await ada.slash("/cs", "whoami", channel="C_OPS")
    assert told.request is not None
    slack.fake.account("U0ADA").deleted = True
    assert accounts.KEEP_SECONDS < 60
    with patch.object(accounts, "KEEP_SECONDS", 0.0):
        answer = await slack.fake.send(told.request.aged(0))
    assert "deactivated" in answer.text


async def test_when_slack_does_not_say_who_it_is_nothing_is_done(slack: Slack) -> None:
    slack.fake.fail_next("users.info", "internal_error")
    told = await slack.person("ada").slash("/ship", "api v2", channel="C_OPS")
    assert told.ephemeral is not None
    assert "Slack did not say who you are" in told.ephemeral.content
    assert await slack.rows("SELECT 1 FROM runs") == []


async def test_who_is_known_nowhere_by_e_mail_links_the_account_by_a_code(slack: Slack) -> None:
    slack.fake.add_user("U0ADA9", name="ada", email="private@example.test")
    slack.fake.world.channel("C_OPS").members.add("U0ADA9")
    stranger = slack.fake.user("U0ADA9")
    refused = await stranger.slash("/cs", "whoami", channel="C_OPS")
    assert refused.ephemeral is not None
    assert "get a code there with: link code" in refused.ephemeral.content
    person = await slack.hub.read(lambda session: find_person(session, "ada"))
    assert person is not None
    invocation = Invocation(key="k" * 8, door=Door.browser, place=Place("room"), text="link code")
    shown = (await slack.hub.submit(person, invocation)).reply
    assert shown.code.startswith("/countersign link ")
    code = shown.code.removeprefix("/countersign link ")
    again = (await slack.hub.submit(person, invocation)).reply
    assert again.text == "This was shown once and is kept nowhere; ask again."
    assert not await slack.rows("SELECT 1 FROM inbox WHERE answer::text LIKE :code", code=f"%{code}%")
    slack.fake.add_user("U0GUEST", name="guest", guest="single")
    slack.fake.world.channel("C_OPS").members.add("U0GUEST")
    guest = await slack.fake.user("U0GUEST").slash("/cs", f"link {code}", channel="C_OPS")
    assert guest.ephemeral is not None
    assert "Guests cannot run this" in guest.ephemeral.content, "a code makes nobody a member"
    linked = await stranger.slash("/cs", f"link {code}", channel="C_OPS")
    assert linked.ephemeral is not None
    assert "this account acts as ada from now on" in linked.ephemeral.content
    told = await stranger.slash("/cs", "whoami", channel="C_OPS")
    assert told.ephemeral is not None
    assert "You are ada." in told.ephemeral.content
    typed_in_chat = await stranger.slash("/cs", "link code", channel="C_OPS")
    assert typed_in_chat.ephemeral is not None
    assert "Ask for the code where you are signed in" in typed_in_chat.ephemeral.content
