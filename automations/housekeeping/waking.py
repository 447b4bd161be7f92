"""waking: parked runs that have something to go on with are woken; any number of housekeepers may do so at once."""

import asyncio
import contextlib
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from countersign.runs import FINISHED
from store.locks import find_free, forget_locks
from store.waits import find_ripe, forget_waits, wake

_log = logging.getLogger(__name__)
LOOK_SECONDS: Final = 1.0
_FINISHED: Final = sorted(FINISHED)


async def wake_ripe(services: Services) -> int:
    """Wakes the runs whose due time has passed and those that nothing holds any more; returns how many."""
    async with services.reading() as session:
        ripe = await find_ripe(session, finished=_FINISHED)
    if not ripe:
        return 0
    async with services.transaction() as session:
        return len(await wake(session, ripe))


async def wake_free(services: Services) -> int:
    """Wakes the runs whose turn it is at all the locks that they want; returns how many."""
    async with services.reading() as session:
        free = await find_free(session)
    if not free:
        return 0
    async with services.transaction() as session:
        return len(await wake(session, free, because="it is its turn"))


async def wake_free_always(services: Services, freed: asyncio.Event) -> None:
    """As soon as a lock is said to be free, and every second, because nobody may have said so, until cancelled."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await freed.wait()
        freed.clear()
        try:
            await wake_free(services)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("waking who waits for a lock is interrupted: %s", type(error).__name__)


async def forget_old_waits(services: Services) -> None:
    """What runs that have ended in another way once waited for."""
    async with services.transaction() as session:
        await forget_waits(session)
        await forget_locks(session)
