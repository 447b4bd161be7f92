"""Socket Mode: one connection of this process to Slack, for hubs that Slack cannot reach."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.writers import stop
from integrations.slack.hooks import is_loopback
from store.settings import Settings

_log = logging.getLogger(__name__)
# Slack allows ten connections per app and sends each payload to any one of them; two stay free for a rolling restart.
MOST_CONNECTIONS: Final = 8
_AGAIN_SECONDS: Final = 2.0
_PING_SECONDS: Final = 5.0


@asynccontextmanager
async def socket_mode(app: AsyncApp, settings: Settings) -> AsyncIterator[None]:
    """Connects, and stays connected until the block ends; Slack being away does not stop the other doors from opening."""
    token = settings.slack_app_token.get_secret_value()
    web = AsyncWebClient(token, base_url=settings.slack_api_url)
    handler = AsyncSocketModeHandler(app, token, web_client=web, ping_interval=_PING_SECONDS)
    if is_loopback(settings.slack_api_url):
        handler.client.proxy = web.proxy = None
    handler.client.message_listeners.append(_count_connections)
    connecting = asyncio.create_task(_connect(handler))
    try:
        yield
    finally:
        await stop(connecting)
        await handler.close_async()  # type: ignore[no-untyped-call]


async def _connect(handler: AsyncSocketModeHandler) -> None:
    """Until it is connected for the first time; from then on the client connects again by itself."""
    while True:
        try:
            await handler.connect_async()  # type: ignore[no-untyped-call]
            return
        except (OSError, SlackClientError, TimeoutError) as error:
            _log.warning("Socket Mode is not connected yet: %s", type(error).__name__)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _count_connections(client: Any, message: dict[str, Any], _: str | None = None) -> None:
    """Slack greets each connection with how many there are."""
    if message.get("type") == "hello" and int(message.get("num_connections") or 0) > MOST_CONNECTIONS:
        _log.error("Socket Mode: more than %s web processes are connected; this one gives its connection up.", MOST_CONNECTIONS)
        client.auto_reconnect_enabled = False
        await client.disconnect()
