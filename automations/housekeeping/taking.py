"""taking: deliveries to triggers, woken by Postgres and by the next due time; no sleeping poll."""

import asyncio
import contextlib
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.receiving import BATCH, receive
from automations.services import Services
from commands.policies import PolicyError
from store.hookdeliveries import next_delivery

_log = logging.getLogger(__name__)
LONGEST_WAIT: Final = 5.0


async def take_always(services: Services, deliveries: asyncio.Event) -> None:
    """Works on what was delivered until cancelled."""
    while True:
        deliveries.clear()
        try:
            while await receive(services) == BATCH:
                pass
            wait = 0.0 if deliveries.is_set() else await _until_next(services)
        except (SQLAlchemyError, OSError, PolicyError) as error:
            _log.warning("taking deliveries is interrupted: %s", type(error).__name__)
            wait = 1.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await deliveries.wait()


async def _until_next(services: Services) -> float:
    async with services.reading() as session:
        seconds = await next_delivery(session)
    return LONGEST_WAIT if seconds is None else min(LONGEST_WAIT, max(0.01, seconds))
