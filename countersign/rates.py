"""Rates: how often something may be done at most, written as `30/minute`."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from .arguments import Duration

MOST: Final = 10_000
LONGEST: Final = timedelta(days=30)
_UNITS: Final = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
_NAMES: Final = {Duration.parse(length): f"{'an' if name == 'hour' else 'a'} {name}" for name, length in _UNITS.items()}
_WRITTEN = re.compile(r"\s*([0-9]{1,6})\s*/\s*([0-9a-z]+)\s*\Z")


@dataclass(frozen=True)
class Rate:
    """At most `count` times in any stretch of time as long as `per`."""

    count: int
    per: Duration

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `30/minute`, `5/second` or `100/10m`. Raises ValueError, which shows how it is written."""
        found = _WRITTEN.match(text.lower())
        if not found:
            raise ValueError("should be a number and a time, for instance 30/minute, 5/second or 100/10m")
        length = found[2]
        per = Duration.parse(_UNITS.get(length, f"1{length}" if length in ("s", "m", "h", "d") else length))
        if not 1 <= int(found[1]) <= MOST or not timedelta(seconds=1) <= per <= LONGEST:
            raise ValueError(f"should be 1 to {MOST} times in 1s to {LONGEST.days}d, for instance 30/minute")
        return cls(int(found[1]), per)

    def __str__(self) -> str:
        return f"{self.count} {_NAMES[self.per]}" if self.per in _NAMES else f"{self.count} in {self.per}"
