"""speaking: a worker that was given up, and lives, says how its calls ended: nobody else can know."""

import asyncio
import logging
from functools import partial
from typing import Final
from uuid import UUID

from store.lastwords import testify

from .services import Services

_log = logging.getLogger(__name__)
AGAIN_SECONDS: Final = 0.5
TRIES: Final = 20


async def speak_late(services: Services, run_id: UUID) -> None:
    """Returns when what this worker knows of the run's calls is in the journal, or does not matter to anybody any more."""
    ended = services.slate.ended(run_id)
    if not ended:
        return
    for _ in range(TRIES):
        if await services.insist(partial(testify, run_id=run_id, worker=services.name, ended=ended)):
            return
        await asyncio.sleep(AGAIN_SECONDS)
    _log.warning("how calls of run %s ended is known here, and another worker has the run", run_id)
