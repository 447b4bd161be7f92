"""Noise from strangers: counted at once, recorded as one audit row per door, reason and minute, so that it cannot flood the record."""

import asyncio
import logging
from collections import Counter as Tally
from typing import Final

from prometheus_client import Counter

from countersign.errors import CountersignError
from store.audits import AuditEvent

from .hubs import Hub

_log = logging.getLogger(__name__)
FLUSH_SECONDS: Final = 60.0
REFUSALS: Final = Counter("countersign_refusals", "Requests refused before anybody was known.", ["door", "reason"])


class Refusals:
    """One per web process; `run()` is a task of the app's lifespan."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: Tally[tuple[str, str]] = Tally()

    def count(self, *, door: str, reason: str) -> None:
        """Notes one refused request; `reason` is one of ours, never text of the caller."""
        REFUSALS.labels(door=door, reason=reason).inc()
        self._waiting[door, reason] += 1

    async def run(self) -> None:
        """Records what was counted every minute, and once more when cancelled."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Records what was counted; what cannot be recorded now stays counted for the next time."""
        if not self._waiting:
            return
        taken, self._waiting = self._waiting, Tally()
        events = [
            AuditEvent("request:refused", "nobody", None, {"door": door, "reason": reason, "count": count})
            for (door, reason), count in sorted(taken.items())
        ]
        try:
            await self._hub.record(events)
        except CountersignError as error:
            self._waiting.update(taken)
            _log.warning("refusals could not be recorded yet: %s", error)
