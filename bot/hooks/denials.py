"""What nobody proved to have sent, counted for each trigger, reason and minute; written down within a second."""

import asyncio
import logging
import time
from collections import Counter as Tally
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from bot.hubs import Hub
from countersign.errors import CountersignError
from store.hookdeliveries import Denied, count_denied

_log = logging.getLogger(__name__)
FLUSH_SECONDS: Final = 1.0


class Denials:
    """One per web process; `run()` is a task of the app's lifespan."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: Tally[tuple[UUID, str, int]] = Tally()
        self._some = asyncio.Event()

    def count(self, trigger: UUID, reason: str) -> None:
        """Notes one refused delivery; `reason` is one of our words, never text of the caller."""
        self._waiting[trigger, reason, int(time.time() // 60)] += 1
        self._some.set()

    async def run(self) -> None:
        """Writes down what was counted, at most once a second, and once more when cancelled."""
        try:
            while True:
                await self._some.wait()
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """What cannot be written now stays counted for the next time."""
        self._some.clear()
        taken, self._waiting = self._waiting, Tally()
        denied = [
            Denied(uuid5(NAMESPACE_URL, f"{trigger} {reason} {minute}"), trigger, reason, count)
            for (trigger, reason, minute), count in sorted(taken.items())
        ]
        try:
            if denied:
                await self._hub.committed(lambda session: count_denied(session, denied))
        except CountersignError as error:
            self._waiting.update(taken)
            self._some.set()
            _log.warning("refused deliveries could not be written down yet: %s", error)
