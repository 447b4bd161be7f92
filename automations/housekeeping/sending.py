"""sending: the durable queue of messages, woken by Postgres and by the next due time; no sleeping poll."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.announcing import BATCH, Deliverer, Taken, deliver, take
from automations.delivering import BUDGETS, Room, Slack
from automations.services import Services
from integrations.slack.clients import SlackClient
from store.deliveries import next_due
from store.lanes import keep_budgets

_log = logging.getLogger(__name__)
LONGEST_WAIT: Final = 5.0
CALL_SECONDS: Final = 5.0
BREATH: Final = 0.05
"""Seconds in which lanes that become free one after the other are taken together."""


async def send_always(services: Services, messages: asyncio.Event) -> None:
    """Delivers due messages until cancelled."""
    async with _deliverers(services) as deliverers:
        if "slack" in deliverers:
            await _until_done(services)
        await Sender(services, deliverers, messages).run()


class Sender:
    """Takes what is due as soon as it may go, while what was taken before is still on its way; at most 64 messages at a time."""

    def __init__(self, services: Services, deliverers: dict[str, Deliverer], messages: asyncio.Event) -> None:
        """`messages` is set by whoever learns that there is something new."""
        self._services, self._deliverers, self._messages = services, deliverers, messages
        self._under_way: dict[asyncio.Task[None], int] = {}

    async def run(self) -> None:
        """Sends until cancelled; what is then on its way is cut off, and looked for by whoever takes it next."""
        try:
            while True:
                self._messages.clear()
                try:
                    wait = await self._turn()
                except (SQLAlchemyError, OSError) as error:
                    _log.warning("sending is interrupted: %s", type(error).__name__)
                    wait = 1.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._messages.wait()
        finally:
            for task in self._under_way:
                task.cancel()

    async def _turn(self) -> float:
        """Takes what may go now; returns for how many seconds there is nothing to do unless somebody calls."""
        while (room := BATCH - sum(self._under_way.values())) > 0:
            taken = await take(self._services, room)
            if taken.rows:
                self._begin(taken)
            if len(taken.rows) < room:
                return await self._until_next()
        return LONGEST_WAIT  # whatever ends makes room and calls

    def _begin(self, taken: Taken) -> None:
        task = asyncio.create_task(deliver(self._services, self._deliverers, taken))
        self._under_way[task] = len(taken.rows)
        task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        del self._under_way[task]
        self._messages.set()
        if not task.cancelled() and (error := task.exception()):
            # Its leases end by themselves, and then somebody takes the messages again.
            _log.warning("sending is interrupted: %s", type(error).__name__)

    async def _until_next(self) -> float:
        async with self._services.reading() as session:
            seconds = await next_due(session)
        return LONGEST_WAIT if seconds is None else min(LONGEST_WAIT, max(BREATH, seconds))


async def _until_done(services: Services) -> None:
    """Says how often Slack may be asked, however long the database is away."""
    while True:
        try:
            async with services.transaction() as session:
                return await keep_budgets(session, BUDGETS)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("sending has to wait: %s", type(error).__name__)
            await asyncio.sleep(1.0)


@asynccontextmanager
async def _deliverers(services: Services) -> AsyncIterator[dict[str, Deliverer]]:
    settings = services.settings
    if not settings.has_slack:
        yield {"room": Room()}
        return
    # A gateway on loopback also stands in for hooks.slack.com; otherwise the host is pinned to Slack's own.
    hooks = settings.slack_api_url.removesuffix("api/") if settings.slack_api_url.startswith("http://") else None
    token = settings.slack_bot_token.get_secret_value()
    async with SlackClient(token, base_url=settings.slack_api_url, timeout=CALL_SECONDS, hooks_base=hooks) as client:
        yield {"room": Room(), "slack": Slack(services, client)}
