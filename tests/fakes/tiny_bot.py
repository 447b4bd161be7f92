"""A small Bolt app that uses every door of Slack's, to try the fake against: it knows nothing of Countersign."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import SlackFake

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def card(text: str, *labels: str, **more: Any) -> list[Json]:
    """A section with buttons below."""
    buttons = [{"type": "button", "text": plain(label), "action_id": label.lower(), "value": "run-1", **more} for label in labels]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return [section, *([{"type": "actions", "elements": buttons}] if labels else [])]


def deploy_form(**more: Any) -> Json:
    """A modal with a required and an optional field, and a select that asks the app."""
    typed = {"type": "plain_text_input", "action_id": "version", "max_length": 20}
    service = {"type": "external_select", "action_id": "service", "min_query_length": 1}
    return {
        "type": "modal",
        "callback_id": "deploy",
        "title": plain("Deploy"),
        "submit": plain("Go"),
        "blocks": [
            {"type": "input", "block_id": "version", "label": plain("Version"), "element": typed},
            {"type": "input", "block_id": "service", "label": plain("Service"), "element": service, "optional": True},
        ],
        **more,
    }


class TinyBot:
    """What the app saw, and how slowly or badly it shall answer."""

    def __init__(self) -> None:
        self.seen: list[Json] = []
        self.retries: list[tuple[str, str]] = []
        self.pause = 0.0
        self.broken = False
        self.no_retry = False
        self.reply: Json = {}
        self.options = 3

    def of(self, kind: str) -> list[Json]:
        return [body for body in self.seen if kind in (body.get("type"), body.get("command"), body.get("event", {}).get("type"))]

    async def note(self, body: Json) -> None:
        self.seen.append(body)
        await asyncio.sleep(self.pause)
        if self.broken:
            raise RuntimeError("the app is broken on purpose")


def make_app(bot: TinyBot, client: AsyncWebClient, secret: str) -> AsyncApp:
    """Return a Bolt app whose listeners note what they see and answer as told."""

    async def authorize(**_: Any) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id="T1", bot_token=client.token, bot_id="B_BOT", bot_user_id="U_BOT")

    app = AsyncApp(client=client, signing_secret=secret, authorize=authorize, process_before_response=True)

    @app.middleware
    async def remember(req: AsyncBoltRequest, next: Any) -> Any:  # noqa: A002 - Bolt passes it by this name
        number = req.headers.get("x-slack-retry-num")
        if number:
            bot.retries.append((number[0], req.headers["x-slack-retry-reason"][0]))
        return await next()

    _commands(bot, app)
    _interactions(bot, app)
    _events(bot, app)
    return app


@asynccontextmanager
async def serving(fake: SlackFake, bot: TinyBot) -> AsyncIterator[None]:
    """Run the app as the fake's mode asks: behind HTTP, or as a Socket Mode client."""
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(fake.bot_token, base_url=fake.api_url, session=session, retry_handlers=[])
        app = make_app(bot, client, fake.signing_secret)
        if fake.mode == "socket":
            async with connected(fake, app):
                yield
        else:
            async with _listening(fake, app, bot):
                yield


@asynccontextmanager
async def connected(fake: SlackFake, app: AsyncApp) -> AsyncIterator[AsyncSocketModeHandler]:
    """Hold one Socket Mode connection."""
    client = AsyncWebClient(fake.app_token, base_url=fake.api_url)
    handler = AsyncSocketModeHandler(app, fake.app_token, web_client=client, ping_interval=0.5)
    before = len(fake.sockets.connections)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await fake.wait_for(lambda: len(fake.sockets.connections) > before or fake.sockets.refused, what="a connection")
    try:
        yield handler
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _listening(fake: SlackFake, app: AsyncApp, bot: TinyBot) -> AsyncIterator[None]:
    async def events(request: web.Request) -> web.Response:
        headers: dict[str, Any] = {key.lower(): [value] for key, value in request.headers.items()}
        answer = await app.async_dispatch(AsyncBoltRequest(body=await request.text(), headers=headers))
        kept = {"content-type": answer.headers.get("content-type", ["text/plain"])[0]}
        if bot.no_retry:
            kept["x-slack-no-retry"] = "1"
        return web.Response(status=answer.status, body=answer.body.encode(), headers=kept)

    server = web.Application()
    server.router.add_post("/slack/events", events)
    runner = web.AppRunner(server, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.target_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield
    finally:
        await runner.cleanup()


def _commands(bot: TinyBot, app: AsyncApp) -> None:
    @app.command("/deploy")
    async def deploy(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await bot.note(body)
        await ack()
        await client.chat_postMessage(channel=body["channel_id"], text="deploy", blocks=card(f"deploy {body['text']}", "Approve", "Deny"))

    @app.command("/answer")
    async def answer(ack: Any, body: Json) -> None:
        await bot.note(body)
        await ack(**bot.reply)


def _interactions(bot: TinyBot, app: AsyncApp) -> None:
    @app.action("approve")
    async def approve(ack: Any, body: Json, respond: Any) -> None:
        await bot.note(body)
        await ack()
        if "response_url" in body:
            await respond(text="noted")

    @app.action("deny")
    async def deny(ack: Any, body: Json, client: AsyncWebClient) -> None:
        await bot.note(body)
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=deploy_form())

    @app.view("deploy")
    async def submitted(ack: Any, body: Json) -> None:
        await bot.note(body)
        await ack(**bot.reply)

    @app.view_closed("deploy")
    async def closed(ack: Any, body: Json) -> None:
        await bot.note(body)
        await ack()

    @app.options("service")
    async def services(ack: Any, body: Json) -> None:
        await bot.note(body)
        await ack(options=[{"text": plain(f"api-{number}"), "value": f"api-{number}"} for number in range(bot.options)])

    @app.shortcut("explain")
    async def explain(ack: Any, body: Json) -> None:
        await bot.note(body)
        await ack()


def _events(bot: TinyBot, app: AsyncApp) -> None:
    @app.event("app_mention")
    async def mentioned(body: Json) -> None:
        await bot.note(body)

    @app.event("message")
    async def written(body: Json) -> None:
        await bot.note(body)

    @app.event("app_home_opened")
    async def home(body: Json, client: AsyncWebClient) -> None:
        await bot.note(body)
        await client.views_publish(user_id=body["event"]["user"], view={"type": "home", "blocks": card("your runs", "Approve")})
