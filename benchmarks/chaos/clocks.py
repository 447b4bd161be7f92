"""A wrong clock: from now on everything in this process that asks the host for the time hears another one.

That is `time.time`, and `datetime.now` wherever a module of the hub says it. What Postgres and the kernel say stays as it is.
"""

import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

from benchmarks.chaos.mines import ROOMS


class _Like(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def set_clock(seconds: float) -> None:
    """So many seconds ahead of the right time, or behind it."""
    real, real_ns = time.time, time.time_ns

    class Skewed(datetime, metaclass=_Like):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds)

    wrong: dict[Any, Any] = {
        real: lambda: real() + seconds,
        real_ns: lambda: real_ns() + int(seconds * 1e9),
    }
    time.time, time.time_ns = wrong[real], wrong[real_ns]
    for name, module in list(sys.modules.items()):
        known = vars(module)
        for attribute in [one for one, value in known.items() if value is real or value is real_ns]:
            setattr(module, attribute, wrong[known[attribute]])
        if name.partition(".")[0] in ROOMS and known.get("datetime") is datetime:
            setattr(module, "datetime", Skewed)  # noqa: B010  mypy knows better than to let a name change its class
