"""How often signing in may go wrong from one address: enough for people, too little for guessing or for keeping the database busy."""

import time
from collections import OrderedDict
from typing import Final

from bot.api.problems import Problem

MOST: Final = 30
SECONDS: Final = 60.0
MOST_ADDRESSES: Final = 10_000


class Attempts:
    """One per web process. Only what went wrong counts; behind a proxy everybody has the proxy's address."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises Problem 429 when too much went wrong from this address within a minute."""
        recent = self._recent(address)
        if len(recent) >= MOST:
            wait = max(1, round(SECONDS - (time.monotonic() - recent[0])))
            sentence = f"Signing in went wrong too often from your address; try again in {wait} s."
            raise Problem(429, "too_many", sentence, headers={"retry-after": str(wait)})

    def fail(self, address: str) -> None:
        """Notes that it went wrong once more."""
        self._failed[address] = [*self._recent(address), time.monotonic()]
        self._failed.move_to_end(address)
        while len(self._failed) > MOST_ADDRESSES:
            self._failed.popitem(last=False)

    def _recent(self, address: str) -> list[float]:
        began = time.monotonic() - SECONDS
        return [one for one in self._failed.get(address, ()) if one > began]
