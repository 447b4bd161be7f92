"""What a planner and a step are given. They are different types because only a step may act on the world."""

import asyncio
import random as randoms
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .artifacts import Artifact, artifact_of
from .integrations import Integration
from .values import written_json

I = TypeVar("I", bound=Integration)  # noqa: E741


@dataclass(frozen=True)
class Asker:
    """The person on whose behalf a command is planned and executed."""

    name: str
    groups: frozenset[str] = frozenset()
    timezone: str = "UTC"


class Opener(Protocol):
    """Gives the one client of an integration that this process holds."""

    def __call__(self, kind: type[I], /, *, planning: bool) -> I: ...


class Journal(Protocol):
    """Where a step's progress and log go; every call is fenced by the attempt of the worker that makes it."""

    async def progress(self, done: float, total: float, note: str) -> None: ...

    async def log(self, line: str) -> None: ...

    async def artifact(self, artifact: Artifact) -> None: ...


@dataclass(frozen=True)
class PlanningContext:
    """For planners: `use()` gives integrations whose `@acts` methods refuse; `now` and `random` are frozen for the run."""

    asker: Asker
    now: datetime
    seed: int
    opener: Opener
    watched: dict[str, Any] = field(default_factory=dict)
    services: Any = None

    def use(self, kind: type[I]) -> I:
        return self.opener(kind, planning=True)

    def watch(self, name: str, value: Any) -> None:
        """Marks a fact the plan rests on; when it has changed by the time the plan should run, the run becomes stale."""
        self.watched[name] = written_json(value)

    @cached_property
    def random(self) -> randoms.Random:
        """A generator that starts the same way whenever this run is planned."""
        return randoms.Random(self.seed)  # noqa: S311  frozen on purpose: a plan made twice must be equal


@dataclass(frozen=True)
class Context:
    """For steps: the same, and ways to report. `key` names this step of this run for systems that can refuse a repeated call."""

    asker: Asker
    now: datetime
    key: str
    seed: int
    opener: Opener
    journal: Journal
    cancelled: Callable[[], Awaitable[bool]]
    services: Any = None

    def use(self, kind: type[I]) -> I:
        return self.opener(kind, planning=False)

    async def progress(self, done: float, total: float, note: str = "") -> None:
        """Shows `done` of `total` on the run's message, which is edited at most every 2 s."""
        await self.journal.progress(done, total, note)

    async def log(self, line: str) -> None:
        """Adds a line to the run's log; secrets are redacted before it is stored."""
        await self.journal.log(line)

    async def artifact(self, name: str, content: bytes | str | Path, *, content_type: str = "") -> None:
        """Keeps a file with the run, where whoever may see the run can fetch it; one of the same name in this run is replaced.

        Secrets in text are redacted. Raises StepFailed for a name that is none, more than 32 MiB, or a run that is full.
        """
        await self.journal.artifact(await asyncio.to_thread(artifact_of, name, content, content_type))

    @cached_property
    def random(self) -> randoms.Random:
        return randoms.Random(self.seed)  # noqa: S311  frozen on purpose, as while planning
