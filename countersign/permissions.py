"""Permission names and risk levels."""

import re
from enum import IntEnum

_PERMISSION = re.compile(r"[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*\Z")


class Risk(IntEnum):
    """How much harm a command can do; a command that does not say is `high`."""

    read = 0
    low = 1
    medium = 2
    high = 3
    critical = 4


def checked_permission(name: str, *, of: str) -> str:
    """The name itself, if it reads `bundle:verb`; raises TypeError naming the command `of` otherwise."""
    if not _PERMISSION.match(name):
        raise TypeError(f"{of}: permission {name!r} should read 'bundle:verb', for instance 'deploy:run'")
    return name
