"""Clients of outside systems: what each method may do is declared on the method."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar

from pydantic import BaseModel

from .errors import ActsWhilePlanning

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

    async def health(self) -> None:
        """Raises StepFailed with a sentence when the outside system cannot be used."""

    async def close(self) -> None:
        """Frees connections."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__dict__.get("name", cls.__name__.lower())
        for name, member in vars(cls).items():
            if name.startswith("_") or name in ("health", "close") or not inspect.isfunction(member):
                continue
            if not hasattr(member, "repeat"):
                raise TypeError(f"{cls.__qualname__}.{name}: say whether it @reads or @acts(repeat=…)")


def reads(method: Callable[P, R]) -> Callable[P, R]:
    """The method changes nothing outside, so planners may call it."""
    method.repeat = "reads"  # type: ignore[attr-defined]
    return method


def acts(*, repeat: Repeat) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The method changes something outside; while planning it raises ActsWhilePlanning.

    `idempotent`: the same key has one effect; `queryable`: one can ask whether it happened; `once`: never repeated automatically.
    """

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            owner: Any = args[0]
            if owner.planning:
                raise ActsWhilePlanning(f"{owner.name}.{method.__name__} changes the world and cannot be called while planning")
            return method(*args, **kwargs)

        guarded.repeat = repeat  # type: ignore[attr-defined]
        return guarded

    return mark
