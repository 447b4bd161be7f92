"""The fake reaches a Bolt app as Slack does, over HTTP and over Socket Mode; each test names one thing Slack does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import Actor, Message, SlackFake, SlackForbids
from tests.fakes.tiny_bot import TinyBot, card, connected, deploy_form, make_app, serving


@dataclass
class Room:
    """One workspace with the cast in it, and the app listening."""

    fake: SlackFake
    bot: TinyBot
    ada: Actor
    lin: Actor
    eve: Actor

    def post(self, *labels: str, channel: str = "C_OPS", **more: object) -> Message:
        return self.fake.world.add_message(self.fake.world.channels[channel], "card", card("*deploy* api", *labels, **more))


def cast(fake: SlackFake) -> tuple[Actor, Actor, Actor]:
    ada = fake.add_user("U_ADA", email="ada@example.test", name="ada")
    lin = fake.add_user("U_LIN", email="lin@example.test", name="lin")
    eve = fake.add_user("U_EVE", team="T9", name="eve", stranger=True)
    fake.add_channel("C_OPS", name="ops", members=["U_ADA", "U_LIN"])
    fake.add_channel("C_SHARED", name="shared", members=["U_ADA", "U_EVE"], shared=True)
    return ada, lin, eve


@pytest.fixture(params=["http", "socket"])
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    async with SlackFake(request.param, rate_limits=False, cutoff=0.5) as fake:
        bot = TinyBot()
        people = cast(fake)
        async with serving(fake, bot):
            yield Room(fake, bot, *people)


@pytest.fixture
async def http() -> AsyncIterator[Room]:
    async with SlackFake("http", rate_limits=False, cutoff=0.5) as fake:
        bot = TinyBot()
        people = cast(fake)
        async with serving(fake, bot):
            yield Room(fake, bot, *people)


async def test_a_slash_command_arrives_and_the_bot_posts(room: Room) -> None:
    outcome = await room.ada.slash("/deploy", "api v2 & more", channel="C_OPS")
    message = await room.fake.wait_message(channel="C_OPS", containing="api v2")
    assert outcome.ok
    assert message.buttons == ["Approve", "Deny"]
    (body,) = room.bot.of("/deploy")
    assert body["text"] == "api v2 & more"
    assert body["user_id"] == "U_ADA"
    assert "thread_ts" not in body


async def test_an_answer_to_a_slash_command_is_for_the_asker_alone(room: Room) -> None:
    room.bot.reply = {"text": "only you see this"}
    outcome = await room.ada.slash("/answer", channel="C_OPS")
    assert outcome.ephemeral is not None
    assert outcome.ephemeral.text == "only you see this"
    assert room.fake.messages("C_OPS") == []
    assert room.fake.ephemerals("U_LIN") == []


async def test_slack_has_no_slash_commands_in_threads_nor_for_other_companies(http: Room) -> None:
    with pytest.raises(SlackForbids, match="threads"):
        await http.ada.slash("/deploy", channel="C_OPS", thread="1.0")
    with pytest.raises(SlackForbids, match="only the team that installed"):
        await http.eve.slash("/deploy", channel="C_SHARED")


async def test_a_click_arrives_and_its_response_url_answers(room: Room) -> None:
    message = room.post("Approve")
    outcome = await room.lin.click(message, "Approve")
    assert outcome.ok
    shown = await room.fake.wait_ephemeral("U_LIN", containing="noted")
    assert outcome.ephemeral is shown
    (body,) = room.bot.of("block_actions")
    assert body["actions"][0]["value"] == "run-1"
    assert body["message"]["ts"] == message.ts
    assert body["team"]["id"] == "T1"


async def test_only_what_is_on_the_message_now_can_be_clicked(http: Room) -> None:
    message = http.post("Approve")
    with pytest.raises(SlackForbids, match="'Retry'"):
        await http.ada.click(message, "Retry")
    message.edit("done", [])
    with pytest.raises(SlackForbids, match="there is none now"):
        await http.ada.click(message, "Approve")
    assert http.bot.seen == []


async def test_what_a_person_cannot_see_they_cannot_click(http: Room) -> None:
    http.fake.add_channel("C_SECRET", members=["U_LIN"], private=True)
    with pytest.raises(SlackForbids, match="cannot see"):
        await http.ada.click(http.post("Approve", channel="C_SECRET"), "Approve")
    with pytest.raises(SlackForbids, match="cannot see"):
        await http.eve.click(http.post("Approve"), "Approve")
    http.fake.account("U_ADA").deleted = True
    with pytest.raises(SlackForbids, match="deactivated"):
        await http.ada.click(http.post("Approve"), "Approve")


async def test_a_forged_click_needs_the_signing_secret(http: Room) -> None:
    wrong = await http.eve.forge_click("C_OPS", "1.0", action_id="approve", value="run-9", secret="guessed")
    assert wrong.status == 401
    right = await http.eve.forge_click("C_OPS", "1.0", action_id="approve", value="run-9")
    assert right.status == 200
    assert [body["actions"][0]["value"] for body in http.bot.seen] == ["run-9"]


async def test_a_confirm_dialog_can_be_read_and_left(http: Room) -> None:
    dialog = {"title": {"type": "plain_text", "text": "Sure?"}, "text": {"type": "plain_text", "text": "api in prod"}}
    message = http.post("Approve", confirm=dialog)
    left = await http.ada.click(message, "Approve", confirmed=False)
    assert left.confirm == dialog
    assert http.bot.seen == []
    assert (await http.ada.click(message, "Approve")).status == 200


async def test_the_body_of_an_ephemeral_message_is_not_sent(http: Room) -> None:
    place = http.fake.world.channels["C_OPS"]
    message = http.fake.world.add_message(place, "for ada", card("for ada", "Approve"), ephemeral_to="U_ADA")
    await http.ada.click(message, "Approve")
    assert "message" not in http.bot.seen[0]
    with pytest.raises(SlackForbids, match="cannot see"):
        await http.lin.click(message, "Approve")


@pytest.mark.parametrize(("setting", "team"), [("installer", "T1"), ("actor", "T9"), ("null", None)])
async def test_a_click_from_another_company_carries_the_actors_own_team(setting: str, team: str | None, http: Room) -> None:
    http.fake.world.payload_team = setting  # type: ignore[assignment]
    message = http.post("Approve", channel="C_SHARED")
    await http.eve.click(message, "Approve")
    (body,) = http.bot.seen
    assert body["user"]["team_id"] == "T9"
    assert (body["team"] or {}).get("id") == team


async def test_three_seconds_without_an_answer_are_an_error_to_the_person(room: Room) -> None:
    room.bot.pause = 0.8
    outcome = await room.ada.slash("/answer", channel="C_OPS")
    assert outcome.status is None
    assert outcome.error == "/answer failed: operation_timeout"
    assert room.fake.errors_seen("U_ADA") == [outcome.error]
    assert len(room.bot.seen) == 1, "Slack does not repeat commands"


async def test_a_server_error_is_an_error_to_the_person(http: Room) -> None:
    http.bot.broken = True
    outcome = await http.ada.click(http.post("Approve"), "Approve")
    assert outcome.status == 500
    assert http.fake.errors_seen("U_ADA") == ["block_actions failed: dispatch_failed"]


async def test_nobody_listening_is_an_error_to_the_person() -> None:
    async with SlackFake(target_url="http://127.0.0.1:9/slack/events", cutoff=0.5) as fake:
        ada, _, _ = cast(fake)
        outcome = await ada.slash("/deploy", channel="C_OPS")
        assert outcome.error == "/deploy failed: dispatch_failed"


async def test_a_form_opens_is_filled_in_and_closes(room: Room) -> None:
    await room.lin.click(room.post("Deny"), "Deny")
    view = await room.fake.wait_view("U_LIN", containing="Deploy")
    offered = await room.lin.suggest(view, "service", "a")
    assert [option["value"] for option in offered.options] == ["api-0", "api-1", "api-2"]
    outcome = await room.lin.submit(view, {"Version": "v2", "service": "api-1"})
    assert outcome.ok
    assert room.fake.views("U_LIN") == []
    state = room.bot.of("view_submission")[0]["view"]["state"]["values"]
    assert state["version"]["version"]["value"] == "v2"
    assert state["service"]["service"]["selected_option"]["value"] == "api-1"


async def test_slacks_client_holds_a_form_back_that_is_not_filled_in_right(http: Room) -> None:
    await http.lin.click(http.post("Deny"), "Deny")
    view = http.fake.last_view("U_LIN")
    for values, sentence in [
        ({}, "required"),
        ({"version": "x" * 21}, "too many"),
        ({"version": "v2", "colour": "red"}, "no field 'colour'"),
        ({"version": "v2", "service": "web"}, "not offered"),
    ]:
        with pytest.raises(SlackForbids, match=sentence):
            await http.lin.submit(view, values)
    assert http.bot.of("view_submission") == []


async def test_a_form_can_come_back_with_errors_or_with_another_view(room: Room) -> None:
    await room.lin.click(room.post("Deny"), "Deny")
    view = await room.fake.wait_view("U_LIN")
    room.bot.reply = {"response_action": "errors", "errors": {"version": "no such version"}}
    outcome = await room.lin.submit(view, {"version": "v9"})
    assert outcome.errors == {"version": "no such version"}
    assert room.fake.last_view("U_LIN") is view
    room.bot.reply = {"response_action": "push", "view": deploy_form(title={"type": "plain_text", "text": "Again"})}
    await room.lin.submit(view, {"version": "v2"})
    assert [view.title for view in room.fake.views("U_LIN")] == ["Deploy", "Again"]
    room.bot.reply = {"response_action": "clear"}
    await room.lin.submit(room.fake.last_view("U_LIN"), {"version": "v2"})
    assert room.fake.views("U_LIN") == []


async def test_an_answer_that_slack_cannot_use_is_an_error_to_the_person(http: Room) -> None:
    await http.lin.click(http.post("Deny"), "Deny")
    view = http.fake.last_view("U_LIN")
    for reply in (
        {"response_action": "errors", "errors": {"nonsense": "x"}},
        {"response_action": "update", "view": deploy_form(title={"type": "plain_text", "text": "x" * 25})},
    ):
        http.bot.reply = reply
        assert not (await http.lin.submit(view, {"version": "v2"})).ok
    assert len(http.fake.errors_seen("U_LIN")) == 2


async def test_closing_a_form_is_told_only_when_asked_for(http: Room) -> None:
    await http.lin.click(http.post("Deny"), "Deny")
    view = http.fake.last_view("U_LIN")
    assert (await http.lin.close(view)).status is None
    await http.lin.click(http.post("Deny"), "Deny")
    view = http.fake.last_view("U_LIN")
    view.data["notify_on_close"] = True
    assert (await http.lin.close(view)).status == 200
    assert http.bot.of("view_closed")[0]["is_cleared"] is False
    assert http.fake.views("U_LIN") == []


async def test_more_than_a_hundred_suggestions_are_an_error(http: Room) -> None:
    await http.lin.click(http.post("Deny"), "Deny")
    http.bot.options = 101
    outcome = await http.lin.suggest(http.fake.last_view("U_LIN"), "service", "a")
    assert outcome.error == "block_suggestion failed: more than 100 options"
    with pytest.raises(SlackForbids, match="from 1 characters"):
        await http.lin.suggest(http.fake.last_view("U_LIN"), "service", "")


async def test_shortcuts_arrive(room: Room) -> None:
    message = room.ada.say("C_OPS", "db1 is slow")
    assert (await room.lin.shortcut(message, "explain")).ok
    assert (await room.lin.global_shortcut("explain")).ok
    on_message, anywhere = room.bot.seen
    assert on_message["message"]["text"] == "db1 is slow"
    assert "response_url" not in anywhere
    with pytest.raises(SlackForbids, match="only the team that installed"):
        await room.eve.shortcut(message, "explain")


async def test_a_mention_arrives_in_its_thread_but_not_from_a_channel_without_the_bot(room: Room) -> None:
    first = room.ada.say("C_OPS", "db1 is slow")
    await room.ada.mention("C_OPS", "deploy api v2", thread=first.ts)
    (body,) = room.bot.of("app_mention")
    assert body["event"]["thread_ts"] == first.ts
    assert body["event"]["text"] == "<@U_BOT> deploy api v2"
    room.fake.world.channels["C_OPS"].bot_in = False
    await room.ada.mention("C_OPS", "deploy api v3")
    assert len(room.bot.of("app_mention")) == 1


async def test_an_event_in_a_shared_channel_says_so(http: Room) -> None:
    await http.eve.mention("C_SHARED", "deploy api v2")
    (body,) = http.bot.seen
    assert body["is_ext_shared_channel"] is True
    assert body["event"]["team"] == "T9"


async def test_a_direct_message_and_the_home_tab_arrive(room: Room) -> None:
    await room.ada.write_directly("help")
    assert room.bot.of("message")[0]["event"]["channel_type"] == "im"
    await room.ada.open_home()
    home = room.fake.home("U_ADA")
    assert home is not None
    assert "your runs" in home.content
    assert (await room.ada.click(home, "Approve")).ok
    assert room.bot.of("block_actions")[0]["view"]["id"] == home.id


async def test_a_failed_event_is_sent_again_at_once_and_after_one_and_five_minutes(room: Room) -> None:
    room.bot.broken = True
    await room.ada.mention("C_OPS", "deploy api v2")
    reason = "http_error" if room.fake.mode == "http" else "http_timeout"
    assert room.bot.retries == [("1", reason)]
    await room.fake.advance(59)
    assert len(room.bot.retries) == 1
    await room.fake.advance(1)
    assert len(room.bot.retries) == 2
    await room.fake.advance(300)
    await room.fake.advance(3600)
    assert [number for number, _ in room.bot.retries] == ["1", "2", "3"]
    assert len({body["event_id"] for body in room.bot.seen}) == 1
    assert [delivery.attempt for delivery in room.fake.deliveries] == [0, 1, 2, 3]


async def test_an_event_that_is_taken_late_is_not_sent_again(http: Room) -> None:
    http.bot.broken = True
    await http.ada.mention("C_OPS", "deploy api v2")
    http.bot.broken = False
    await http.fake.advance(60)
    await http.fake.advance(600)
    assert len(http.bot.seen) == 3


async def test_no_retry_is_honoured(http: Room) -> None:
    http.bot.broken, http.bot.no_retry = True, True
    await http.ada.mention("C_OPS", "deploy api v2")
    await http.fake.advance(3600)
    assert len(http.bot.seen) == 1


async def test_the_same_request_can_be_replayed(room: Room) -> None:
    outcome = await room.lin.click(room.post("Approve"), "Approve")
    assert outcome.request is not None
    answers = await room.fake.replay(outcome.request, times=2)
    assert [answer.status for answer in answers] == [200, 200]
    clicks = room.bot.of("block_actions")
    assert clicks[0] == clicks[1] == clicks[2]


async def test_hostile_requests_are_signed_wrongly_on_purpose(http: Room) -> None:
    outcome = await http.lin.click(http.post("Approve"), "Approve")
    request = outcome.request
    assert request is not None
    hostile = [
        request.tampered(request.body + b"&x=1"),
        request.aged(301),
        request.aged(-301),
        request.unsigned(),
        request.signed_with("guess"),
    ]
    assert [(await http.fake.send(each)).status for each in hostile] == [401] * 5
    assert (await http.fake.send(request.aged(299))).status == 200


async def test_the_request_url_is_verified_and_the_certificate_checked(http: Room) -> None:
    assert await http.fake.verify_url()
    assert (await http.fake.ssl_check()).status == 200


async def test_an_org_wide_install_has_no_team_in_its_payloads() -> None:
    async with SlackFake(enterprise="E1", rate_limits=False) as fake:
        ada, _, _ = cast(fake)
        bot = TinyBot()
        async with serving(fake, bot):
            message = fake.world.add_message(fake.world.channels["C_OPS"], "card", card("x", "Approve"))
            await ada.click(message, "Approve")
            await ada.slash("/deploy", channel="C_OPS")
        click, slash = bot.seen
        assert click["team"] is None
        assert click["enterprise"]["id"] == slash["enterprise_id"] == "E1"


async def test_each_envelope_goes_to_any_one_connection_and_an_eleventh_is_refused() -> None:
    async with SlackFake("socket", rate_limits=False, most_connections=2) as fake:
        ada, _, _ = cast(fake)
        bot = TinyBot()
        app = make_app(bot, _client(fake), fake.signing_secret)
        async with connected(fake, app), connected(fake, app):
            for _ in range(20):
                await ada.slash("/answer", channel="C_OPS")
            assert len(bot.seen) == 20, "never to both"
            assert set(fake.sockets.received) == {0, 1}
            url = await _client(fake).apps_connections_open(app_token=fake.app_token)
            async with aiohttp.ClientSession() as session, session.ws_connect(url["url"]) as third:
                assert (await third.receive_json())["reason"] == "too_many_websockets"


async def test_an_address_for_a_connection_works_once() -> None:
    async with SlackFake("socket") as fake, aiohttp.ClientSession() as session:
        url = (await _client(fake).apps_connections_open(app_token=fake.app_token))["url"]
        async with session.ws_connect(url) as line:
            assert (await line.receive_json())["type"] == "hello"
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(url)


async def test_a_client_told_to_refresh_comes_back() -> None:
    async with SlackFake("socket", rate_limits=False) as fake:
        ada, _, _ = cast(fake)
        bot = TinyBot()
        async with serving(fake, bot):
            await fake.disconnect("refresh_requested")
            await fake.wait_for(lambda: fake.sockets.connections, what="the client to reconnect")
            assert (await ada.slash("/answer", channel="C_OPS")).ok


def _client(fake: SlackFake) -> AsyncWebClient:
    return AsyncWebClient(fake.bot_token, base_url=fake.api_url)
