"""What a worker has been hinted at and has not begun: bounded work in hand, any number of ids waiting, none twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import psycopg
from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)


class Intake:
    """Hands ids to `work` in batches of at most `batch`, at most `hands` batches at a time.

    A hint only adds an id, so long runs never keep Dramatiq's threads, and a hint repeated by the sweep changes nothing.
    """

    def __init__(self, work: Callable[[Sequence[UUID]], Awaitable[int]], *, batch: int, hands: int) -> None:
        self._work, self._batch, self._hands = work, batch, hands
        self._waiting: dict[UUID, None] = {}
        self._in_hand: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def offer(self, ids: Sequence[UUID]) -> None:
        """Takes note of these runs; call it on the event loop."""
        if self._closed:
            return
        self._waiting.update(dict.fromkeys(one for one in ids if one not in self._in_hand))
        if self._waiting and len(self._tasks) < self._hands:
            task = asyncio.ensure_future(self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self, *, seconds: float) -> None:
        """Begins nothing more and gives what is in hand `seconds` to end; the rest is left to its lease."""
        self._closed = True
        self._waiting.clear()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=seconds)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _serve(self) -> None:
        while batch := list(self._waiting)[: self._batch]:
            for one in batch:
                del self._waiting[one]
            if self._waiting:
                self.offer(())  # another hand, if one is free
            self._in_hand.update(batch)
            try:
                await self._work(batch)
            except (SQLAlchemyError, psycopg.Error, OSError) as error:
                _log.warning("work was interrupted: %s; the sweep brings the runs back", type(error).__name__)
            except Exception:
                _log.exception("work ended unexpectedly; the sweep brings the runs back")
            finally:
                self._in_hand.difference_update(batch)
