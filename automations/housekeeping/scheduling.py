"""scheduling: what schedules are due for is asked for. Any number of housekeepers do this; row locks and a row for each slot decide."""

import asyncio
import contextlib
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.planning import fallback_of
from automations.services import Services
from commands.policies import PolicyError
from commands.scheduling import tend_schedule
from store.schedules import find_busy, find_pause

_log = logging.getLogger(__name__)
# Without anything due somebody may still set the database's clock, and a notice may come while nobody listens.
LONGEST_PAUSE: Final = 10.0
# Runs end without a notice to us.
WHILE_OPEN: Final = 1.0
AFTER_TROUBLE: Final = 1.0


async def schedule_always(services: Services, woken: asyncio.Event) -> None:
    """Schedules until cancelled: when a slot is due, when `woken` because schedules changed, and every second while runs are under way."""
    while True:
        woken.clear()
        try:
            while await schedule(services):
                pass
            pause = await find_pause_seconds(services)
        except (SQLAlchemyError, OSError, PolicyError) as error:
            _log.warning("scheduling is interrupted: %s", type(error).__name__)
            pause = AFTER_TROUBLE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await woken.wait()


async def schedule(services: Services) -> int:
    """One turn of each schedule that there may be something to do about; returns how much that was. One that fails stops no other."""
    async with services.reading() as session:
        busy = await find_busy(session)
    done = 0
    for one in busy:
        try:
            async with services.transaction() as session:
                rulebook = await services.current_rulebook(session)
                done += await tend_schedule(session, rulebook, one, chat=fallback_of(services))
        except (SQLAlchemyError, OSError, PolicyError):
            raise
        except Exception:
            _log.exception("the schedule %s could not be tended", one)
    return done


async def find_pause_seconds(services: Services) -> float:
    """How long nothing will be due."""
    async with services.reading() as session:
        pause, is_open = await find_pause(session)
    longest = WHILE_OPEN if is_open else LONGEST_PAUSE
    return longest if pause is None else min(longest, max(0.0, pause.total_seconds()))
