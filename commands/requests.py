"""What somebody wants to do, as rules look at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from countersign.commands import Command
from countersign.invocations import Door, Place


@dataclass(frozen=True)
class Request:
    """Use a permission, for a command with canonical arguments after defaults, through a door, in a place, for a reason, now.

    `now` is the database's clock; None where nobody asked it, and then a rule that looks at the time cannot be read.
    """

    permission: str
    door: Door
    place: Place
    command: Command | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    now: datetime | None = None
