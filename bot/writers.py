"""The group-commit writer: runs that arrive while one commit is under way share the next one. Each waits for its own commit."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from store.databases import ReadSession, WriteSession
from store.runs import Born, NewRun, create

from .deadlines import ANSWER_SECONDS, NotConfirmed, NothingDone

_log = logging.getLogger(__name__)
MOST_ROWS: Final = 64
MOST_WAITING: Final = 2_000


@dataclass(eq=False)
class _Waiting:
    run: NewRun
    answer: "asyncio.Future[Born]"
    sent: bool = False


class Writer:
    """One task and one connection; start it with `run()` in a task group of the web process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: list[_Waiting] = []
        self._filled = asyncio.Event()

    async def add(self, run: NewRun, *, seconds: float = ANSWER_SECONDS) -> Born:
        """Creates the run durably; raises NothingDone or NotConfirmed as the database's answer demands."""
        if len(self._waiting) >= MOST_WAITING:
            raise NothingDone
        one = _Waiting(run, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        self._filled.set()
        done, _ = await asyncio.wait({one.answer}, timeout=seconds)
        if done:
            return one.answer.result()
        if not one.sent:
            self._waiting.remove(one)
            raise NothingDone
        raise NotConfirmed(f"Ask for run {run.id} to see whether it was accepted.")

    async def run(self) -> None:
        """Writes batches until cancelled. No timer: a batch forms while the previous commit is under way."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            while batch := self._take():
                await self._write(batch)

    def _take(self) -> list[_Waiting]:
        batch, self._waiting = self._waiting[:MOST_ROWS], self._waiting[MOST_ROWS:]
        for one in batch:
            one.sent = True
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            await self._create(batch)
        except (SQLAlchemyError, OSError) as error:
            if len(batch) > 1:  # one bad row must not refuse its neighbours
                for one in batch:
                    await self._write([one])
            else:
                await self._look_again(batch[0], error)

    async def _look_again(self, one: _Waiting, error: Exception) -> None:
        """Writing the same key again is safe: it finds the run if the first COMMIT was carried out after all."""
        _log.warning("a run could not be written, trying once more: %s", type(error).__name__)
        try:
            await self._create([one])
        except (SQLAlchemyError, OSError) as again:
            if not one.answer.done():
                one.answer.set_exception(NotConfirmed(f"Ask for run {one.run.id} to see whether it was accepted."))
            _log.warning("a run could not be confirmed: %s", type(again).__name__)

    async def _create(self, batch: list[_Waiting]) -> None:
        """One statement in autocommit mode: the statement is the transaction, which saves two round trips."""
        async with self._engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            async with AsyncSession(connection, expire_on_commit=False) as session:
                born = await create(WriteSession(ReadSession(session)), [one.run for one in batch])
        for one in batch:
            if not one.answer.done():
                one.answer.set_result(_for(one, born))


def _for(one: _Waiting, born: dict[str, Born]) -> Born:
    found = born[one.run.key]
    return found if found.run_id != one.run.id else Born(found.run_id, True, found.number, found.status)


async def stop(task: "asyncio.Task[None]") -> None:
    """Ends the writer's task; what waits is answered by its own deadline."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
