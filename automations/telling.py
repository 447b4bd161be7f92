"""telling: senders hear that messages are due, at once for all that became due in the same moment."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg
from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)
PAUSE_SECONDS: Final = 0.05


class Teller:
    """Speaks at the first word, and then at most 20 times a second for all that is said meanwhile.

    What is lost with this process a sender finds by itself, in at most five seconds.
    """

    def __init__(self, speak: Callable[[], Awaitable[None]]) -> None:
        self._speak = speak
        self._due = False
        self._task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Messages are due, and what made them so is committed."""
        self._due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell())

    async def close(self) -> None:
        """Lets the last word be spoken."""
        if self._task is not None:
            await self._task

    async def _tell(self) -> None:
        while self._due:
            self._due = False
            try:
                await self._speak()
            except (SQLAlchemyError, psycopg.Error, OSError) as error:
                _log.warning("senders were not told: %s", type(error).__name__)
            await asyncio.sleep(PAUSE_SECONDS)
