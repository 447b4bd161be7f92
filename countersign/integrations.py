"""Clients of outside systems: what each method may do is declared on the method."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar, get_args

from pydantic import BaseModel

from .errors import ActsWhilePlanning, Stopped

P = ParamSpec("P")
R = TypeVar("R")
Repeat = Literal["idempotent", "queryable", "once"]


class Integration:
    """A client of one outside system. Each public method is `@reads` or `@acts(repeat=…)`; a method that is neither refuses at import.

    `Settings` is read from the environment as `COUNTERSIGN_<NAME>__<FIELD>`. One instance serves a process; `close()` ends it.
    """

    class Settings(BaseModel):
        """No settings."""

    name: ClassVar[str] = ""
    scopes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.planning = False
        self.stopped = ""

    async def health(self) -> None:
        """Raises StepFailed with a sentence when the outside system cannot be used."""

    async def close(self) -> None:
        """Frees connections."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__dict__.get("name", cls.__name__.lower())
        for name in dir(cls):
            if name.startswith("_") or hasattr(Integration, name):
                continue
            member = inspect.getattr_static(cls, name)
            method = getattr(member, "__func__", member)
            if callable(method) and not inspect.isclass(method) and not hasattr(method, "repeat"):
                raise TypeError(f"{cls.__qualname__}.{name}: say whether it @reads or @acts(repeat=…)")


def integration_names() -> list[str]:
    """The names of all integrations that have been imported."""
    found, waiting = set(), list(Integration.__subclasses__())
    while waiting:
        kind = waiting.pop()
        found.add(kind.name)
        waiting += kind.__subclasses__()
    return sorted(found)


def reads(method: Callable[P, R]) -> Callable[P, R]:
    """The method changes nothing outside, so planners may call it."""
    method.repeat = "reads"  # type: ignore[attr-defined]
    return method


def acts(*, repeat: Repeat) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The method changes something outside; while planning it raises ActsWhilePlanning, while a kill switch is on Stopped.

    `idempotent`: the same key has one effect; `queryable`: one can ask whether it happened; `once`: never repeated automatically.
    """

    if repeat not in get_args(Repeat):
        raise TypeError(f"@acts(repeat={repeat!r}): repeat should be one of {', '.join(get_args(Repeat))}")

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            owner: Any = args[0]
            if owner.stopped:
                raise Stopped(owner.stopped)
            if owner.planning:
                raise ActsWhilePlanning(f"{owner.name}.{method.__name__} changes the world and cannot be called while planning")
            return method(*args, **kwargs)

        guarded.repeat = repeat  # type: ignore[attr-defined]
        return guarded

    return mark
