"""The client tells four endings apart, posts once, and gives no secret away. The other side is the Slack fake."""

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from integrations.slack.clients import Posted, SlackClient, SlackUser, escape
from integrations.slack.errors import SlackBusy, SlackError, SlackRefused, SlackUnclear, SlackUnreachable
from integrations.slack.hooks import HookPin
from tests.fakes.slack import SlackFake, View
from tests.fakes.tiny_bot import card, deploy_form

TOKEN_OF_NOBODY = "xoxb-secret-of-nobody"


@pytest.fixture
async def fake() -> AsyncIterator[SlackFake]:
    async with SlackFake(rate_limits=False) as fake:
        fake.add_user("U_ADA", email="ada@example.test", name="ada")
        fake.add_channel("C_OPS", members=["U_ADA"])
        yield fake


@pytest.fixture
async def client(fake: SlackFake) -> AsyncIterator[SlackClient]:
    async with SlackClient(fake.bot_token, base_url=fake.api_url, timeout=0.3, hooks_base=fake.hooks_base) as client:
        yield client


def post(client: SlackClient, key: str = "k1", **more: Any) -> Awaitable[Posted]:
    return client.post("C_OPS", card("deploy api v2", "Approve"), "deploy api v2", key=key, **more)


def hook(fake: SlackFake) -> str:
    return fake.response_url("C_OPS", "U_ADA")


async def test_a_message_is_posted_edited_and_shown_alone(client: SlackClient, fake: SlackFake) -> None:
    posted = await post(client)
    await client.update(posted.channel, posted.ts, card("done"), "done")
    await client.ephemeral("C_OPS", "U_ADA", card("for you"), "for you")
    (message,) = fake.messages("C_OPS")
    assert (message.text, message.edits[0].text) == ("done", "deploy api v2")
    assert [shown.text for shown in fake.ephemerals("U_ADA")] == ["for you"]
    sent = fake.calls("chat.postMessage")[0].params
    assert (sent["unfurl_links"], sent["unfurl_media"]) == (False, False)


async def test_people_and_direct_channels_are_looked_up(client: SlackClient, fake: SlackFake) -> None:
    fake.add_user("U_EVE", team="T9", email="eve@example.test", name="eve", guest="single", stranger=True)
    assert await client.user("U_ADA") == SlackUser("U_ADA", "T1", "ada@example.test", "ada", False, False, False, False, "Europe/Berlin")
    eve = await client.user("U_EVE")
    assert (eve.team, eve.email, eve.is_guest, eve.is_stranger) == ("T9", None, True, True)
    direct = await client.open_direct("U_ADA")
    assert direct == await client.open_direct("U_ADA")
    us = await client.auth_test()
    assert (us.team, us.user, us.bot) == ("T1", "U_BOT", "B_BOT")


async def test_forms_and_the_home_tab(client: SlackClient, fake: SlackFake) -> None:
    view_id = await client.open_view(fake.trigger("U_ADA"), deploy_form())
    assert fake.last_view("U_ADA").id == view_id
    home = {"type": "home", "blocks": card("your runs")}
    first = await client.publish_home("U_ADA", home)
    assert isinstance(fake.home("U_ADA"), View)
    await client.publish_home("U_ADA", home, first)
    with pytest.raises(SlackRefused, match="hash_conflict"):
        await client.publish_home("U_ADA", home, first)


@pytest.mark.parametrize("mode", ["drop_after", "hang_after", "500_after"])
async def test_a_lost_answer_is_unclear_sent_once_and_found_by_its_key(client: SlackClient, fake: SlackFake, mode: str) -> None:
    since = fake.clock.now() - 60
    fake.fail_next("chat.postMessage", mode)
    with pytest.raises(SlackUnclear):
        await post(client)
    assert len(fake.calls("chat.postMessage")) == 1
    (message,) = fake.messages("C_OPS")
    assert await client.find_by_key("C_OPS", "k1", since) == Posted("C_OPS", message.ts)


async def test_a_dropped_connection_is_not_tried_again_behind_our_back(fake: SlackFake) -> None:
    fake.fail_next("chat.postMessage", "drop_after")
    # Long enough for slack_sdk's own retry, which waits about a second first.
    async with SlackClient(fake.bot_token, base_url=fake.api_url, timeout=5) as client:
        with pytest.raises(SlackUnclear):
            await post(client)
    assert len(fake.messages("C_OPS")) == 1


@pytest.mark.parametrize("mode", ["drop", "hang", "500", "fatal_error", "internal_error"])
async def test_an_answer_lost_before_the_work_is_unclear_too_and_nothing_is_found(client: SlackClient, fake: SlackFake, mode: str) -> None:
    fake.fail_next("chat.postMessage", mode)
    with pytest.raises(SlackUnclear):
        await post(client)
    assert await client.find_by_key("C_OPS", "k1", 0) is None
    assert len(fake.calls("chat.postMessage")) == 1


async def test_a_message_is_found_behind_many_others_and_in_a_thread(client: SlackClient, fake: SlackFake) -> None:
    wanted = await post(client, "k1")
    reply = await post(client, "k2", thread=wanted.ts)
    for number in range(250):
        fake.user("U_ADA").say("C_OPS", str(number))
    assert await client.find_by_key("C_OPS", "k1", 0) == wanted
    assert await client.find_by_key("C_OPS", "k2", 0) is None
    assert await client.find_by_key("C_OPS", "k2", 0, thread=wanted.ts) == reply
    assert await client.find_by_key("C_OPS", "k1", fake.clock.now()) is None


async def test_another_apps_message_with_our_key_does_not_count(client: SlackClient, fake: SlackFake) -> None:
    await post(client)
    fake.messages("C_OPS")[0].sender = "U_ADA"
    assert await client.find_by_key("C_OPS", "k1", 0) is None


async def test_busy_says_how_long(client: SlackClient, fake: SlackFake) -> None:
    for method, call in _calls(client, fake).items():
        fake.fail_next(method, "429", retry_after=7)
        with pytest.raises(SlackBusy) as caught:
            await call()
        assert caught.value.retry_after == 7.0


async def test_a_refusal_says_why(client: SlackClient) -> None:
    with pytest.raises(SlackRefused) as caught:
        await client.post("C_NONE", card("x"), "x", key="k")
    assert caught.value.code == "channel_not_found"
    assert str(caught.value) == "Slack knows no such channel, or the app may not see it (channel_not_found)"
    assert "no such channel" in caught.value.sentence


async def test_no_connection_means_certainly_not_sent(fake: SlackFake) -> None:
    base, url = fake.api_url, hook(fake)
    await fake.stop()
    async with SlackClient("xoxb", base_url=base, hooks_base=fake.hooks_base) as client:
        with pytest.raises(SlackUnreachable):
            await post(client)
        with pytest.raises(SlackUnreachable):
            await client.respond(url, text="x")


async def test_wrong_blocks_are_refused_before_they_are_sent(client: SlackClient, fake: SlackFake) -> None:
    with pytest.raises(SlackRefused, match="action_id 'go' is used twice"):
        await client.post("C_OPS", card("x", "Go", "Go"), "x", key="k")
    with pytest.raises(SlackRefused, match="at most 24"):
        await client.open_view("t", deploy_form(title={"type": "plain_text", "text": "x" * 25}))
    with pytest.raises(SlackRefused, match="must not be empty"):
        await client.respond(hook(fake), text="x", blocks=card(""))
    assert fake.requests == []


async def test_a_response_url_is_answered_until_it_is_used_up(client: SlackClient, fake: SlackFake) -> None:
    url = hook(fake)
    await client.respond(url, text="alone")
    await client.respond(url, text="all", in_channel=True, thread="1.0")
    assert [message.text for message in fake.ephemerals("U_ADA")] == ["alone"]
    assert [(message.text, message.thread) for message in fake.messages("C_OPS")] == [("all", "1.0")]
    for _ in range(3):
        await client.respond(url, text="more", blocks=card("more"))
    with pytest.raises(SlackRefused, match="used_url"):
        await client.respond(url, text="a sixth")
    await fake.advance(1801)
    with pytest.raises(SlackRefused, match="expired_url"):
        await client.respond(url, text="late")


async def test_a_response_url_edits_and_removes_its_message(client: SlackClient, fake: SlackFake) -> None:
    message = fake.world.add_message(fake.world.channels["C_OPS"], "before", [])
    url = fake.response_url("C_OPS", "U_ADA", original=message)
    await client.respond(url, text="after", replace_original=True)
    assert message.text == "after"
    await client.remove_original(url)
    assert message.deleted


@pytest.mark.parametrize("mode", ["drop", "hang", "500"])
async def test_a_lost_answer_of_a_response_url_is_unclear(client: SlackClient, fake: SlackFake, mode: str) -> None:
    fake.fail_next("response_url", mode)
    with pytest.raises(SlackUnclear):
        await client.respond(hook(fake), text="x")


FOREIGN = [
    "http://hooks.slack.com/actions/x",
    "https://hooks.slack.com.evil.test/x",
    "https://evil.test/hooks.slack.com",
    "https://user@hooks.slack.com/x",
    "https://hooks.slack.com@evil.test/x",
    "https://hooks.slack.com:8443/x",
    "https://hooks.slack.com./x",
    "https://hooks.slack.com\\@evil.test/x",
    "https://hooks.slack.com\n.evil.test/x",
    " https://hooks.slack.com/x",
    "https://169.254.169.254/latest/meta-data",
    "http://127.0.0.1:1/x",
    "https://[oops",
    "//hooks.slack.com/x",
    "",
]


@pytest.mark.parametrize("url", FOREIGN)
async def test_a_foreign_response_url_is_never_posted_to(client: SlackClient, fake: SlackFake, url: str) -> None:
    with pytest.raises(SlackRefused, match="foreign_url"):
        await client.respond(url, text="x")
    with pytest.raises(SlackRefused, match="foreign_url"):
        await client.remove_original(url)
    assert fake.requests == []


def test_slacks_own_hooks_are_allowed_and_a_gateway_only_on_this_machine() -> None:
    HookPin().check("https://hooks.slack.com/actions/T1/1/x")
    HookPin("http://127.0.0.1:9000").check("http://127.0.0.1:9000/actions/T1/1/x")
    with pytest.raises(SlackRefused):
        HookPin().check("http://127.0.0.1:9000/actions/T1/1/x")
    with pytest.raises(ValueError, match="on this machine"):
        HookPin("http://gateway.test:9000")


async def test_no_secret_is_in_an_error_or_a_log(fake: SlackFake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [TOKEN_OF_NOBODY]
    async with SlackClient(TOKEN_OF_NOBODY, base_url=fake.api_url, timeout=0.2, hooks_base=fake.hooks_base) as client:
        told = [await _error_of(client.auth_test())]
        for mode in ("drop", "hang", "500", "429", "no_text"):
            fake.fail_next("response_url", mode)
            secrets.append(hook(fake))
            told.append(await _error_of(client.respond(secrets[-1], text="x")))
    assert all(error.__context__ is None and error.__cause__ is None for error in told)
    shown = "".join("".join(traceback.format_exception(error)) for error in told) + repr(told) + caplog.text
    assert not [secret for secret in secrets if secret in shown or secret.rsplit("/", 1)[-1] in shown]


async def test_all_calls_share_one_connection(client: SlackClient, fake: SlackFake) -> None:
    for number in range(5):
        await post(client, str(number))
    connector = client.web.session.connector if client.web.session else None
    assert connector is not None
    assert sum(len(pool) for pool in connector._conns.values()) == 1


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(fake: SlackFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with SlackClient(fake.bot_token, base_url=fake.api_url.rstrip("/")) as client:
        assert (await client.auth_test()).team == "T1"


def test_what_a_person_typed_mentions_nobody() -> None:
    assert escape("<!channel> & <@U_EVE>") == "&lt;!channel&gt; &amp; &lt;@U_EVE&gt;"


def _calls(client: SlackClient, fake: SlackFake) -> dict[str, Callable[[], Awaitable[Any]]]:
    return {
        "chat.postMessage": lambda: post(client),
        "chat.update": lambda: client.update("C_OPS", "1.0", card("x"), "x"),
        "users.info": lambda: client.user("U_ADA"),
        "response_url": lambda: client.respond(hook(fake), text="x"),
    }


async def _error_of(call: Awaitable[Any]) -> SlackError:
    with pytest.raises(SlackError) as caught:
        await call
    return caught.value
