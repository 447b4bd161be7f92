"""indexing: what is recorded can be found by its words a moment later, at no cost to whoever recorded it."""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from store.searches import BLOCKS, index_blocks

_log = logging.getLogger(__name__)
INDEX_SECONDS: Final = 1.0


async def index_always(services: Services) -> None:
    """Indexes every second until cancelled; trouble with the database is waited out."""
    while True:
        try:
            while await index_once(services) == BLOCKS:
                pass
        except (SQLAlchemyError, OSError) as error:
            _log.warning("indexing is interrupted: %s", type(error).__name__)
        await asyncio.sleep(INDEX_SECONDS)


async def index_once(services: Services) -> int:
    """Takes in some sealed blocks; returns how many."""
    async with services.transaction() as session:
        return await index_blocks(session)
