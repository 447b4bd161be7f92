"""Locks: how many runs may be carried out at once for a command, or for each value of its arguments, and what a further one does."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .schemas import Schema
from .values import written

Conflict = Literal["wait", "refuse", "replace"]
CONFLICTS: Final = ("wait", "refuse", "replace")
MOST: Final = 1_000
LONGEST: Final = 200
_NAMED = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@dataclass(frozen=True)
class Lock:
    """At most `most` runs at once hold the lock of this name, in which `{argument}` stands for a value: `Lock("deploy {env}")`.

    A run takes all its locks before it begins, plans again while it holds them, and lets go of them with its end. A further one waits for
    its turn, is refused, or replaces: those that wait are cancelled, and those that run are asked to stop before their next step.
    """

    name: str
    most: int = 1
    conflict: Conflict = "wait"

    def __post_init__(self) -> None:
        """Raises TypeError for what can be no lock."""
        if not self.name.strip() or len(self.name) > LONGEST or re.search(r"[{}]", _NAMED.sub("", self.name)):
            raise TypeError(f"lock {self.name!r}: a name has 1 to {LONGEST} characters, with arguments as in 'deploy {{env}}'")
        if not 1 <= self.most <= MOST:
            raise TypeError(f"lock {self.name!r}: at most 1 to {MOST} runs hold it at once")
        if self.conflict not in CONFLICTS:
            raise TypeError(f"lock {self.name!r}: on a conflict a run can {', '.join(CONFLICTS)}")

    @property
    def arguments(self) -> frozenset[str]:
        return frozenset(_NAMED.findall(self.name))

    def named(self, arguments: Mapping[str, Any]) -> str:
        """The lock of a run with these canonical arguments."""
        return _NAMED.sub(lambda found: written(arguments.get(found[1])), self.name)[:LONGEST]


def checked_locks(given: str | Lock | Sequence[str | Lock], schema: Schema, *, of: str) -> tuple[Lock, ...]:
    """The locks of a command; raises TypeError when one names what is no argument, or a secret."""
    several = [given] if isinstance(given, str | Lock) else given
    locks = tuple(Lock(one) if isinstance(one, str) else one for one in several if one)
    known = {one.name for one in schema.parameters} - schema.secrets
    for one in locks:
        if unknown := one.arguments - known:
            raise TypeError(f"{of}: the lock {one.name!r} names {min(unknown)!r}, which is not an argument, or is a secret")
    if len({one.name for one in locks}) < len(locks):
        raise TypeError(f"{of}: has the same lock twice")
    return locks
