"""Retry: whether a step that failed is begun again, when, and how often. Its data is signed with the step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from .arguments import Duration

_MOST: Final = 100


@dataclass(frozen=True)
class Retry:
    """How a failed step is begun again; wrong values raise TypeError at import.

    `attempts` counts the first one too. Before the second it waits `wait`, before each further one `factor` times as long, at most
    `longest`; `jitter` is the share by which each wait is made longer or shorter by chance. No attempt begins later than `within` after
    the first. `on` are the exceptions it is for; left out, an idempotent step is begun again after any failure, and one that is not
    idempotent only after `NothingDone`.
    """

    attempts: int = 3
    wait: str = "1s"
    factor: float = 2.0
    longest: str = "5m"
    jitter: float = 0.2
    within: str = "1h"
    on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.attempts <= _MOST:
            raise TypeError(f"Retry: attempts should be from 2 to {_MOST}, the first one included")
        if not 1 <= self.factor <= 100 or not 0 <= self.jitter <= 1:
            raise TypeError("Retry: factor should be from 1 to 100, and jitter from 0 to 1")
        for name in ("wait", "longest", "within"):
            try:
                Duration.parse(getattr(self, name))
            except ValueError as error:
                raise TypeError(f"Retry: {name} {error}") from None
        given: tuple[object, ...] = self.on
        for one in given:
            if not (isinstance(one, type) and issubclass(one, Exception)):
                raise TypeError(f"Retry: on should be exception classes, not {one!r}")

    def as_json(self) -> dict[str, Any]:
        """As it is signed and stored."""
        return {
            "attempts": self.attempts,
            "wait": str(Duration.parse(self.wait)),
            "factor": self.factor,
            "longest": str(Duration.parse(self.longest)),
            "jitter": self.jitter,
            "within": str(Duration.parse(self.within)),
            "on": sorted(_name_of(one) for one in self.on),
        }


@dataclass(frozen=True)
class Retrying:
    """The same as a worker reads it from a plan; waits are in seconds."""

    attempts: int
    wait: float
    factor: float
    longest: float
    jitter: float
    within: float
    on: frozenset[str]

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Self:
        seconds = {name: Duration.parse(data[name]).total_seconds() for name in ("wait", "longest", "within")}
        return cls(attempts=data["attempts"], factor=data["factor"], jitter=data["jitter"], on=frozenset(data["on"]), **seconds)

    def names(self, error: BaseException) -> bool:
        """Whether the author named this exception, or one that it is a kind of."""
        return any(_name_of(one) in self.on for one in type(error).__mro__)

    def wait_after(self, tries: int, chance: float) -> float:
        """Seconds to wait after this many attempts; `chance`, from 0 to 1, says where in the jitter."""
        wait = min(self.longest, self.wait * self.factor ** min(tries - 1, 64))
        return max(0.0, wait * (1 + self.jitter * (2 * chance - 1)))


def _name_of(one: type) -> str:
    return f"{one.__module__}.{one.__qualname__}"
