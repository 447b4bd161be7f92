"""The fake's Web API refuses what Slack refuses; called with plain HTTP, so that no client smooths anything over."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.fakes.slack import SlackFake
from tests.fakes.slack.tokens import BOT_SCOPES, Token
from tests.fakes.tiny_bot import card, deploy_form

Json = dict[str, Any]


class Slack:
    """The fake and a bare HTTP client with the bot token."""

    def __init__(self, fake: SlackFake, session: aiohttp.ClientSession) -> None:
        self.fake, self.session = fake, session

    async def call(self, method: str, *, token: str | None = None, **params: Any) -> Json:
        headers = {"Authorization": f"Bearer {token or self.fake.bot_token}"}
        async with self.session.post(self.fake.api_url + method, json=params, headers=headers) as response:
            return {"status": response.status, "retry_after": response.headers.get("Retry-After"), **await response.json()}

    async def respond(self, url: str, **body: Any) -> tuple[int, str]:
        async with self.session.post(url, json=body) as response:
            return response.status, await response.text()

    def trigger(self, user: str = "U_ADA") -> str:
        return self.fake.trigger(user)

    def hook(self, channel: str = "C_OPS", user: str = "U_ADA", **more: Any) -> str:
        return self.fake.response_url(channel, user, **more)


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with SlackFake() as fake, aiohttp.ClientSession() as session:
        fake.add_user("U_ADA", email="ada@example.test", name="ada")
        fake.add_user("U_EVE", team="T9", email="eve@example.test", name="eve", stranger=True)
        fake.add_channel("C_OPS", name="ops", members=["U_ADA"])
        yield Slack(fake, session)


async def test_one_message_a_second_and_channel(slack: Slack) -> None:
    slack.fake.add_channel("C_DEV")
    assert (await slack.call("chat.postMessage", channel="C_OPS", text="1"))["ok"]
    busy = await slack.call("chat.postMessage", channel="C_OPS", text="2")
    assert (busy["status"], busy["error"], busy["retry_after"]) == (429, "ratelimited", "1")
    assert (await slack.call("chat.postMessage", channel="C_DEV", text="3"))["ok"], "another channel has its own rate"
    await slack.fake.advance(1)
    assert (await slack.call("chat.postMessage", channel="C_OPS", text="2"))["ok"]
    slack.fake.limits.enabled = False
    assert (await slack.call("chat.postMessage", channel="C_OPS", text="4"))["ok"]


async def test_other_methods_have_a_rate_per_minute(slack: Slack) -> None:
    slack.fake.add_usergroup("S1", handle="deployers", users=["U_ADA"])
    answers = [await slack.call("usergroups.users.list", usergroup="S1") for _ in range(21)]
    assert [answer["status"] for answer in answers] == [200] * 20 + [429]


async def test_failures_on_demand(slack: Slack) -> None:
    for mode, told in [("429", "ratelimited"), ("channel_not_found", "channel_not_found")]:
        slack.fake.fail_next("chat.postMessage", mode, retry_after=7)
        answer = await slack.call("chat.postMessage", channel="C_OPS", text="x")
        assert answer["error"] == told
        assert answer["retry_after"] == ("7" if mode == "429" else None)
    assert slack.fake.messages("C_OPS") == []
    assert (await slack.call("chat.postMessage", channel="C_OPS", text="x"))["ok"], "each failure strikes once"


@pytest.mark.parametrize(("mode", "stored"), [("drop", 0), ("drop_after", 1), ("500", 0), ("500_after", 1), ("hang", 0), ("hang_after", 1)])
async def test_an_answer_can_get_lost_before_or_after_the_work(slack: Slack, mode: str, stored: int) -> None:
    slack.fake.fail_next("chat.postMessage", mode)
    headers = {"Authorization": f"Bearer {slack.fake.bot_token}"}
    request = slack.session.post(
        slack.fake.api_url + "chat.postMessage",
        json={"channel": "C_OPS", "text": "x"},
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=0.2),
    )
    if mode.startswith("500"):
        async with request as response:
            assert response.status == 500
    else:
        with pytest.raises(TimeoutError if "hang" in mode else aiohttp.ServerDisconnectedError):
            await request
    assert len(slack.fake.messages("C_OPS")) == stored


async def test_tokens_and_scopes_are_checked(slack: Slack) -> None:
    slack.fake.tokens.add("xoxb-small", Token("bot", frozenset({"users:read"})))
    post: Json = {"channel": "C_OPS", "text": "x"}
    assert (await slack.call("chat.postMessage", token="xoxb-unknown", **post))["error"] == "invalid_auth"
    assert (await slack.call("chat.postMessage", token=" ", **post))["error"] == "not_authed"
    assert (await slack.call("chat.postMessage", token=slack.fake.app_token, **post))["error"] == "not_allowed_token_type"
    assert (await slack.call("apps.connections.open"))["error"] == "not_allowed_token_type"
    assert (await slack.call("chat.postMessage", token="xoxb-small", **post))["error"] == "missing_scope"
    assert "email" not in (await slack.call("users.info", token="xoxb-small", user="U_ADA"))["user"]["profile"]
    assert (await slack.call("no.such.method"))["error"] == "unknown_method"
    assert slack.fake.messages("C_OPS") == []


async def test_each_kind_of_channel_has_its_own_history_scope(slack: Slack) -> None:
    slack.fake.add_channel("G_OPS", private=True)
    slack.fake.tokens.add("xoxb-public", Token("bot", BOT_SCOPES - {"groups:history", "im:history"}))
    direct = (await slack.call("conversations.open", users="U_ADA"))["channel"]["id"]
    told = [
        (await slack.call("conversations.history", token="xoxb-public", channel=each)).get("error") for each in ("C_OPS", "G_OPS", direct)
    ]
    assert told == [None, "missing_scope", "missing_scope"]


async def test_a_rotating_token_expires_and_its_refresh_token_works_once(slack: Slack) -> None:
    slack.fake.tokens.add_rotating("xoxe-1", "refresh-1")
    assert (await slack.call("auth.test", token="xoxe-1"))["ok"]
    await slack.fake.advance(12 * 3600 + 1)
    assert (await slack.call("auth.test", token="xoxe-1"))["error"] == "token_expired"
    fresh = await slack.call("oauth.v2.access", grant_type="refresh_token", refresh_token="refresh-1")
    assert (await slack.call("auth.test", token=fresh["access_token"]))["ok"]
    again = await slack.call("oauth.v2.access", grant_type="refresh_token", refresh_token="refresh-1")
    assert again["error"] == "invalid_refresh_token"


async def test_get_and_form_and_json_are_all_understood(slack: Slack) -> None:
    headers = {"Authorization": f"Bearer {slack.fake.bot_token}"}
    url = slack.fake.api_url + "users.info"
    for request in (
        slack.session.get(url, params={"user": "U_ADA"}, headers=headers),
        slack.session.post(url, data={"user": "U_ADA"}, headers=headers),
        slack.session.post(url, json={"user": "U_ADA"}, headers=headers),
        slack.session.post(url, data={"user": "U_ADA", "token": slack.fake.bot_token}),
    ):
        async with request as response:
            assert (await response.json())["user"]["profile"]["email"] == "ada@example.test"


async def test_people_are_shown_as_slack_shows_them(slack: Slack) -> None:
    slack.fake.add_user("U_GUEST", guest="multi")
    slack.fake.add_user("U_ONE", guest="single")
    slack.fake.add_user("U_GONE", deleted=True)
    eve, guest, one, gone = [(await slack.call("users.info", user=each))["user"] for each in ("U_EVE", "U_GUEST", "U_ONE", "U_GONE")]
    assert (eve["team_id"], eve["is_stranger"], "email" in eve["profile"]) == ("T9", True, False)
    assert (guest["is_restricted"], guest["is_ultra_restricted"]) == (True, False)
    assert (one["is_restricted"], one["is_ultra_restricted"]) == (True, True)
    assert gone["deleted"] is True
    assert (await slack.call("users.info", user="U_NOBODY"))["error"] == "user_not_found"
    assert (await slack.call("users.lookupByEmail", email="ada@example.test"))["user"]["id"] == "U_ADA"
    assert (await slack.call("users.lookupByEmail", email="eve@example.test"))["error"] == "users_not_found"


async def test_a_user_group_lists_its_active_members(slack: Slack) -> None:
    slack.fake.add_usergroup("S1", handle="deployers", users=["U_ADA", "U_EVE"])
    slack.fake.account("U_EVE").deleted = True
    assert (await slack.call("usergroups.users.list", usergroup="S1"))["users"] == ["U_ADA"]
    assert (await slack.call("usergroups.users.list", usergroup="S9"))["error"] == "no_such_subteam"


async def test_posting_is_refused_where_slack_refuses(slack: Slack) -> None:
    slack.fake.limits.enabled = False
    slack.fake.add_channel("C_OUT", bot_in=False)
    slack.fake.add_channel("G_OUT", bot_in=False, private=True)
    slack.fake.add_channel("C_OLD", archived=True)
    wrong: list[tuple[Json, str]] = [
        ({"channel": "C_NONE", "text": "x"}, "channel_not_found"),
        ({"channel": "C_OUT", "text": "x"}, "not_in_channel"),
        ({"channel": "G_OUT", "text": "x"}, "channel_not_found"),
        ({"channel": "C_OLD", "text": "x"}, "is_archived"),
        ({"channel": "C_OPS"}, "no_text"),
        ({"channel": "C_OPS", "text": "x", "blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"channel": "C_OPS", "text": "x", "blocks": card("x", "Go", "Go")}, "invalid_blocks"),
        ({"channel": "C_OPS", "text": "x", "metadata": {"key": "x"}}, "invalid_metadata_format"),
    ]
    for params, code in wrong:
        assert (await slack.call("chat.postMessage", **params))["error"] == code
    assert slack.fake.world.messages == []
    assert (await slack.call("chat.postMessage", channel="U_ADA", text="hi"))["ok"]
    assert [message.text for message in slack.fake.direct_messages("U_ADA")] == ["hi"]


async def test_only_the_apps_own_messages_can_be_edited(slack: Slack) -> None:
    posted = await slack.call("chat.postMessage", channel="C_OPS", text="first", blocks=card("first", "Approve"))
    assert (await slack.call("chat.update", channel="C_OPS", ts=posted["ts"], text="second"))["ok"]
    (message,) = slack.fake.messages("C_OPS")
    assert (message.text, [version.text for version in message.edits], message.buttons) == ("second", ["first"], [])
    hers = slack.fake.user("U_ADA").say("C_OPS", "mine")
    assert (await slack.call("chat.update", channel="C_OPS", ts=hers.ts, text="x"))["error"] == "cant_update_message"
    assert (await slack.call("chat.update", channel="C_OPS", ts="1.0", text="x"))["error"] == "message_not_found"


async def test_an_ephemeral_needs_a_member_and_is_in_no_history(slack: Slack) -> None:
    assert (await slack.call("chat.postEphemeral", channel="C_OPS", user="U_EVE", text="x"))["error"] == "user_not_in_channel"
    assert (await slack.call("chat.postEphemeral", channel="C_OPS", user="U_ADA", text="x"))["ok"]
    assert [message.text for message in slack.fake.ephemerals("U_ADA")] == ["x"]
    assert (await slack.call("conversations.history", channel="C_OPS"))["messages"] == []


async def test_history_is_newest_first_in_pages_without_replies_and_with_metadata_on_request(slack: Slack) -> None:
    slack.fake.limits.enabled = False
    metadata = {"event_type": "e", "event_payload": {"key": "k"}}
    sent = [await slack.call("chat.postMessage", channel="C_OPS", text=str(n), metadata=metadata) for n in range(3)]
    reply = await slack.call("chat.postMessage", channel="C_OPS", text="reply", thread_ts=sent[0]["ts"])
    first = await slack.call("conversations.history", channel="C_OPS", limit=2, include_all_metadata=True)
    assert [message["text"] for message in first["messages"]] == ["2", "1"]
    assert first["messages"][0]["metadata"] == metadata
    rest = await slack.call("conversations.history", channel="C_OPS", limit=2, cursor=first["response_metadata"]["next_cursor"])
    assert [message["text"] for message in rest["messages"]] == ["0"]
    assert "metadata" not in rest["messages"][0]
    assert not rest["has_more"]
    since = await slack.call("conversations.history", channel="C_OPS", oldest=sent[1]["ts"])
    assert [message["text"] for message in since["messages"]] == ["2"]
    thread = await slack.call("conversations.replies", channel="C_OPS", ts=sent[0]["ts"], oldest=sent[2]["ts"])
    assert [message["ts"] for message in thread["messages"]] == [sent[0]["ts"], reply["ts"]]


async def test_channels_say_what_they_are(slack: Slack) -> None:
    slack.fake.add_channel("C_SHARED", shared=True)
    assert (await slack.call("conversations.info", channel="C_SHARED"))["channel"]["is_ext_shared"] is True
    assert (await slack.call("conversations.info", channel="C_OPS"))["channel"]["is_ext_shared"] is False
    first = await slack.call("conversations.open", users="U_ADA")
    assert (await slack.call("conversations.open", users="U_ADA"))["channel"] == first["channel"]
    assert (await slack.call("conversations.info", channel=first["channel"]["id"]))["channel"]["is_im"] is True


async def test_a_trigger_lives_three_seconds_and_works_once(slack: Slack) -> None:
    trigger = slack.trigger()
    assert (await slack.call("views.open", trigger_id=trigger, view=deploy_form()))["ok"]
    assert (await slack.call("views.open", trigger_id=trigger, view=deploy_form()))["error"] == "exchanged_trigger_id"
    late = slack.trigger()
    await slack.fake.advance(3.1)
    assert (await slack.call("views.open", trigger_id=late, view=deploy_form()))["error"] == "expired_trigger_id"
    assert (await slack.call("views.open", trigger_id="made-up", view=deploy_form()))["error"] == "invalid_trigger_id"


async def test_a_wrong_view_is_refused_and_says_why(slack: Slack) -> None:
    view = deploy_form(title={"type": "plain_text", "text": "x" * 25}, private_metadata="x" * 3001)
    answer = await slack.call("views.open", trigger_id=slack.trigger(), view=view)
    assert answer["error"] == "invalid_arguments"
    assert len(answer["response_metadata"]["messages"]) == 2
    assert (await slack.call("views.publish", user_id="U_ADA", view=deploy_form()))["error"] == "invalid_arguments"


async def test_modals_stack_up_to_three(slack: Slack) -> None:
    assert (await slack.call("views.push", trigger_id=slack.trigger(), view=deploy_form()))["error"] == "not_found"
    opened = await slack.call("views.open", trigger_id=slack.trigger(), view=deploy_form())
    for _ in range(2):
        pushed = await slack.call("views.push", trigger_id=slack.trigger(), view=deploy_form())
        assert pushed["view"]["root_view_id"] == opened["view"]["id"]
    assert (await slack.call("views.push", trigger_id=slack.trigger(), view=deploy_form()))["error"] == "push_limit_reached"
    assert len(slack.fake.views("U_ADA")) == 3


async def test_a_view_changes_only_with_its_newest_hash(slack: Slack) -> None:
    opened = (await slack.call("views.open", trigger_id=slack.trigger(), view=deploy_form()))["view"]
    changed = await slack.call("views.update", view_id=opened["id"], hash=opened["hash"], view=deploy_form())
    assert changed["view"]["hash"] != opened["hash"]
    assert (await slack.call("views.update", view_id=opened["id"], hash=opened["hash"], view=deploy_form()))["error"] == "hash_conflict"
    assert (await slack.call("views.update", view_id="V0", view=deploy_form()))["error"] == "not_found"
    home = {"type": "home", "blocks": card("runs")}
    first = (await slack.call("views.publish", user_id="U_ADA", view=home))["view"]
    assert (await slack.call("views.publish", user_id="U_ADA", view=home, hash=first["hash"]))["ok"]
    assert (await slack.call("views.publish", user_id="U_ADA", view=home, hash=first["hash"]))["error"] == "hash_conflict"


async def test_a_response_url_works_five_times(slack: Slack) -> None:
    url = slack.hook()
    told = [await slack.respond(url, text=str(n)) for n in range(6)]
    assert [status for status, _ in told] == [200] * 5 + [404]
    assert "used_url" in told[5][1]
    assert len(slack.fake.ephemerals("U_ADA")) == 5, "ephemeral unless told otherwise"
    assert slack.fake.messages("C_OPS") == []


async def test_a_response_url_works_for_thirty_minutes_and_without_the_bot_in_the_channel(slack: Slack) -> None:
    slack.fake.world.channels["C_OPS"].bot_in = False
    url = slack.hook()
    assert (await slack.respond(url, text="shown to all", response_type="in_channel"))[0] == 200
    assert [message.text for message in slack.fake.messages("C_OPS")] == ["shown to all"]
    await slack.fake.advance(30 * 60 + 1)
    assert "expired_url" in (await slack.respond(url, text="too late"))[1]
    assert "expired_url" in (await slack.respond(slack.fake.hooks_base + "/actions/T1/guessed", text="x"))[1]


async def test_a_response_url_replaces_and_deletes_but_never_makes_an_ephemeral_public(slack: Slack) -> None:
    place = slack.fake.world.channels["C_OPS"]
    alone = slack.fake.world.add_message(place, "before", [], ephemeral_to="U_ADA")
    url = slack.hook(original=alone)
    await slack.respond(url, text="after", replace_original=True, response_type="in_channel")
    assert (alone.text, alone.ephemeral_to) == ("after", "U_ADA")
    assert (await slack.respond(url, delete_original=True, text="x"))[0] == 400
    assert (await slack.respond(url, delete_original=True))[0] == 200
    assert slack.fake.ephemerals("U_ADA") == []


async def test_a_response_url_checks_blocks_and_answers_in_a_thread_only_in_public(slack: Slack) -> None:
    url = slack.hook()
    assert "invalid_blocks" in (await slack.respond(url, blocks=[{"type": "actions", "elements": []}]))[1]
    await slack.respond(url, text="a", response_type="in_channel", thread_ts="1.0")
    await slack.respond(url, text="b", thread_ts="1.0")
    assert slack.fake.messages("C_OPS")[0].thread == "1.0"
    assert slack.fake.ephemerals("U_ADA")[0].thread is None


async def test_every_call_is_on_record(slack: Slack) -> None:
    await slack.call("chat.postMessage", channel="C_OPS", text="x")
    await slack.call("chat.postMessage", channel="C_NONE", text="x")
    assert [(call.method, call.status, call.error) for call in slack.fake.requests] == [
        ("chat.postMessage", 200, None),
        ("chat.postMessage", 200, "channel_not_found"),
    ]
    assert "token" not in slack.fake.requests[0].params
