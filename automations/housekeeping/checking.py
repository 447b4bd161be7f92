"""checking: once a minute every integration is asked whether it answers, so that people see what is wrong before a run does."""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from store.integrations import note_looks

_log = logging.getLogger(__name__)
CHECK_SECONDS: Final = 60.0
LONGEST_PROBLEM: Final = 300


async def check_always(services: Services) -> None:
    """Checks until cancelled; trouble with the database is waited out."""
    while True:
        try:
            await check_integrations(services)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("checking integrations is interrupted: %s", type(error).__name__)
        await asyncio.sleep(CHECK_SECONDS)


async def check_integrations(services: Services) -> None:
    """Asks each once, and keeps what it says without secrets."""
    looks = await services.catalog.look()
    told = [one.__dict__ | {"problem": services.redactor.clean(one.problem)[:LONGEST_PROBLEM]} for one in looks if one.name]
    async with services.transaction() as session:
        await note_looks(session, told)
