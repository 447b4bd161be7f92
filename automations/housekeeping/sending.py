"""sending: the durable queue of messages, woken by Postgres and by the next due time; no sleeping poll."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.announcing import BATCH, Deliverer, announce
from automations.delivering import Room, Slack
from automations.services import Services
from integrations.slack.clients import SlackClient
from store.messages import next_due

_log = logging.getLogger(__name__)
LONGEST_WAIT: Final = 5.0


async def send_always(services: Services, messages: asyncio.Event) -> None:
    """Delivers due messages until cancelled."""
    async with _deliverers(services) as deliverers:
        while True:
            messages.clear()
            try:
                while await announce(services, deliverers) == BATCH:
                    pass
                wait = 0.0 if messages.is_set() else await _until_next(services)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("sending is interrupted: %s", type(error).__name__)
                wait = 1.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(messages.wait(), wait)


@asynccontextmanager
async def _deliverers(services: Services) -> AsyncIterator[dict[str, Deliverer]]:
    settings = services.settings
    if not settings.has_slack:
        yield {"room": Room()}
        return
    # A gateway on loopback also stands in for hooks.slack.com; otherwise the host is pinned to Slack's own.
    hooks = settings.slack_api_url.removesuffix("api/") if settings.slack_api_url.startswith("http://") else None
    async with SlackClient(settings.slack_bot_token.get_secret_value(), base_url=settings.slack_api_url, hooks_base=hooks) as client:
        yield {"room": Room(), "slack": Slack(services, client)}


async def _until_next(services: Services) -> float:
    async with services.reading() as session:
        seconds = await next_due(session)
    return LONGEST_WAIT if seconds is None else min(LONGEST_WAIT, max(0.01, seconds))
