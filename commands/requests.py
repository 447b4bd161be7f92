"""What somebody wants to do, as rules look at it, and the answer: allowed or refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from countersign.commands import Command
from countersign.invocations import Door, Place
from countersign.records import value


@value
class Request:
    """Use a permission, for a command with canonical arguments after defaults, through a door, in a place, for a reason, now.

    `now` is the database's clock. What is None is not known yet, and a rule that looks at it cannot be read. `offered` means that nobody
    has asked for anything: the question is whether the command is to be shown to somebody.
    """

    permission: str
    door: Door
    place: Place
    command: Command | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    now: datetime | None = None
    offered: bool = False


@value
class Allowed:
    """Yes, and because of what."""

    because: str


@dataclass(frozen=True)
class Refused:
    """No: `sentence` for the person, `reason` for the audit (one word)."""

    sentence: str
    reason: str


INACTIVE: Final = Refused("Your account is not active any more.", "actor_inactive")
