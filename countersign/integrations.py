"""Clients of outside systems: what each method may do is declared on the method."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Literal, ParamSpec, TypeVar, get_args

from pydantic import BaseModel

from .errors import ActsWhilePlanning, Stopped
from .rates import Rate

P = ParamSpec("P")
R = TypeVar("R")
Repeat = Literal["idempotent", "queryable", "once"]
Turn = Callable[["Integration"], Awaitable[None]]
RATE_LIMIT: Final = "rate_limit"
_TURN: ContextVar[Turn | None] = ContextVar("countersign_turn", default=None)


class Integration:
    """A client of one outside system. Each public method is `@reads` or `@acts(repeat=…)`; a method that is neither refuses at import.

    `Settings` is read from the environment as `COUNTERSIGN_<NAME>__<FIELD>`. One instance serves a process; `close()` ends it.
    `rate_limit`, such as `30/minute`, is how often the system bears to be called, by all workers together; an operator may say otherwise
    in `COUNTERSIGN_<NAME>__RATE_LIMIT`.
    """

    class Settings(BaseModel):
        """No settings."""

    name: ClassVar[str] = ""
    scopes: ClassVar[tuple[str, ...]] = ()
    rate_limit: ClassVar[str] = ""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.rate_in_force: Rate | None = None
        self.planning = False
        self.stopped = ""

    async def health(self) -> None:
        """Raises StepFailed with a sentence when the outside system cannot be used."""

    async def close(self) -> None:
        """Frees connections."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__dict__.get("name", cls.__name__.lower())
        if RATE_LIMIT in cls.Settings.model_fields:
            raise TypeError(f"{cls.__qualname__}.Settings: {RATE_LIMIT} is a setting that every integration has; give yours another name")
        try:
            _ = cls.rate_limit and Rate.parse(cls.rate_limit)
        except ValueError as error:
            raise TypeError(f"{cls.__qualname__}.{RATE_LIMIT}={cls.rate_limit!r}: {error}") from None
        for name in dir(cls):
            if name.startswith("_") or hasattr(Integration, name):
                continue
            member = inspect.getattr_static(cls, name)
            method = getattr(member, "__func__", member)
            if callable(method) and not inspect.isclass(method) and not hasattr(method, "repeat"):
                raise TypeError(f"{cls.__qualname__}.{name}: say whether it @reads or @acts(repeat=…)")


def integration_kinds() -> dict[str, type[Integration]]:
    """All integrations that have been imported, by name."""
    found: dict[str, type[Integration]] = {}
    waiting = list(Integration.__subclasses__())
    while waiting:
        kind = waiting.pop()
        found[kind.name] = kind
        waiting += kind.__subclasses__()
    return dict(sorted(found.items()))


def integration_names() -> list[str]:
    """The names of all integrations that have been imported."""
    return list(integration_kinds())


def reads(method: Callable[P, R]) -> Callable[P, R]:
    """The method changes nothing outside, so planners may call it."""
    marked = _in_turn(method)
    marked.repeat = "reads"  # type: ignore[attr-defined]
    return marked


def acts(*, repeat: Repeat) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The method changes something outside; while planning it raises ActsWhilePlanning, while a kill switch is on Stopped.

    `idempotent`: the same key has one effect; `queryable`: one can ask whether it happened; `once`: never repeated automatically.
    """

    if repeat not in get_args(Repeat):
        raise TypeError(f"@acts(repeat={repeat!r}): repeat should be one of {', '.join(get_args(Repeat))}")

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        called = _in_turn(method, acts=True)

        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            owner: Any = args[0]
            if owner.stopped:
                raise Stopped(owner.stopped)
            if owner.planning:
                raise ActsWhilePlanning(f"{owner.name}.{method.__name__} changes the world and cannot be called while planning")
            return called(*args, **kwargs)

        guarded.repeat = repeat  # type: ignore[attr-defined]
        return guarded

    return mark


@contextmanager
def taking_turns(turn: Turn) -> Iterator[None]:
    """In here every call of an integration's asynchronous method waits for `turn` first, which is given the integration."""
    token = _TURN.set(turn)
    try:
        yield
    finally:
        _TURN.reset(token)


def _in_turn(method: Callable[P, R], *, acts: bool = False) -> Callable[P, R]:
    """The method, called when it is its turn; one that is not asynchronous cannot wait and is called at once."""
    function: Any = method
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def streamed(*args: Any, **kwargs: Any) -> Any:
            await _take_turn(args[0], acts=acts)
            async with aclosing(function(*args, **kwargs)) as parts:
                async for one in parts:
                    yield one

        return streamed
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            await _take_turn(args[0], acts=acts)
            return await function(*args, **kwargs)

        return awaited  # type: ignore[return-value]
    return method


async def _take_turn(owner: Any, *, acts: bool) -> None:
    if (turn := _TURN.get()) is None or not isinstance(owner, Integration):
        return
    await turn(owner)
    if acts and owner.stopped:  # while it waited
        raise Stopped(owner.stopped)
