"""What is done after the answer has gone out: opening forms and publishing App Home. Nothing durable: all of it may be lost."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

_log = logging.getLogger(__name__)
LAST_SECONDS: Final = 3.0
T = TypeVar("T")


class Tasks:
    """Keeps hold of tasks until they end; an exception goes to the log."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts what nobody waits for."""
        self.start(work).set_name("later")

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Lets them end for three seconds, then stops them."""
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_SECONDS)
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a task after an answer failed", exc_info=error)
