"""The group-commit writer: what arrives while one commit is under way shares the next one. Each waits for its own commit."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from countersign.errors import CountersignError
from store.databases import ReadSession, Trouble, WriteDriver, WriteSession, driver_of, sever, trouble_of
from store.drivers import Driver, Session
from store.runs import Born, NewRun, create

from .deadlines import Deadline, NotConfirmed, answering

T = TypeVar("T")
A = TypeVar("A")
Write = Callable[[AsyncConnection, Sequence[T]], Awaitable[Sequence[A | CountersignError]]]
"""One statement that writes all of a batch; what became of each, in order. Writing the same again has to find what was written."""
_log = logging.getLogger(__name__)
# Fewer than wait at a busy time, so that Postgres writes some while this process reads the next ones: with 64, all 64 connections waited
# for one statement and then for this process, at four fifths of the rate. With 16 the price of a statement itself costs as much.
MOST_ROWS: Final = 32
MOST_WAITING: Final = 2_000
AGAIN_SECONDS: Final = 0.1


class KeyUsed(CountersignError):
    """The idempotency key belongs to an earlier request that was no run."""

    def __init__(self) -> None:
        super().__init__("Nothing was done: this key was used for another request before. Ask again with a new one.")


@dataclass(eq=False)
class _Waiting(Generic[T, A]):
    """One on its way. `sent`: a statement with it is under way; `doubtful`: one was, and its answer was lost."""

    what: T
    doubt: str
    deadline: Deadline
    answer: "asyncio.Future[A]"
    sent: bool = False
    doubtful: bool = False
    alone: bool = False

    def give(self, answer: A | CountersignError) -> None:
        if isinstance(answer, CountersignError):
            self.fail(answer)
        elif not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def late(self) -> None:
        self.fail(self.unanswered())

    def unanswered(self) -> CountersignError:
        """What is true where no answer came: sending nothing does nothing, sending something may have."""
        return NotConfirmed(self.doubt) if self.sent or self.doubtful else self.deadline.nothing_done()


class Writer(Generic[T, A]):
    """One task and one connection of an engine of its own, so that nobody else's work delays it; start `run()`, end it with `close()`."""

    def __init__(self, engine: AsyncEngine, write: Write[T, A], *, doubt: Callable[[T], str]) -> None:
        """`doubt` says how to find out what became of one that was sent and not answered."""
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._statement, self._doubt = write, doubt
        self._waiting: dict[_Waiting[T, A], None] = {}
        self._filled = asyncio.Event()
        self._driver: Driver | None = None
        self._closing = self._troubled = False

    async def add(self, what: T) -> A:
        """Writes it durably within the request's deadline; raises NothingDone or NotConfirmed, whichever is true, or what `write` says."""
        with answering() as deadline:
            loop = asyncio.get_running_loop()
            one = _Waiting[T, A](what, self._doubt(what), deadline, loop.create_future())
            if len(self._waiting) >= MOST_WAITING or not (left := deadline.left):
                raise one.unanswered()
            self._waiting[one] = None
            self._filled.set()
            late = loop.call_later(left, one.late)
            try:
                return await one.answer
            finally:  # once its caller has been answered, it is not sent again
                late.cancel()
                self._waiting.pop(one, None)

    async def run(self) -> None:
        """Writes batches until closed or cancelled. No timer: a batch forms while the previous commit is under way."""
        while not self._closing:
            await self._filled.wait()
            self._filled.clear()
            try:
                await self._serve()
            except Exception as error:
                self._note(error)
                await asyncio.sleep(AGAIN_SECONDS)
                self._filled.set()

    def close(self) -> None:
        """Ends `run` soon, whatever the database does; what waits is told the truth by its own deadline."""
        self._closing = True
        self._filled.set()
        if self._driver is not None:
            sever(self._driver)

    async def _serve(self) -> None:
        """Writes on one connection until nobody waits."""
        if not self._waiting:
            return
        async with self._engine.connect() as connection:
            self._driver = await driver_of(connection)
            try:
                while (batch := self._take()) and not self._closing:
                    await self._write(connection, self._driver, batch)
            except Exception:
                await connection.invalidate()  # the pool cannot see what went wrong beneath it
                raise
            finally:
                self._driver = None

    def _note(self, error: Exception) -> None:
        """Trouble that lasts is logged once."""
        if trouble_of(error) is None:
            _log.exception("the writer met an error")
        elif not self._troubled:
            _log.warning("the writer has no connection: %s", type(error).__name__)
        self._troubled = True

    def _take(self) -> list[_Waiting[T, A]]:
        """The oldest of those who wait; one that spoiled a batch goes alone."""
        oldest = list(zip(self._waiting, range(MOST_ROWS), strict=False))
        if oldest and oldest[0][0].alone:
            return [oldest[0][0]]
        return [one for one, _ in takewhile(lambda pair: not pair[0].alone, oldest)]

    async def _write(self, connection: AsyncConnection, driver: Driver, batch: list[_Waiting[T, A]]) -> None:
        for one in batch:
            one.sent = True
        # When the last caller has been answered nobody needs this statement's answer, so the connection waits no longer either.
        last = max(one.deadline.left for one in batch)
        watch = asyncio.get_running_loop().call_later(last, sever, driver)
        try:
            # In autocommit mode the statement is the transaction, which saves two round trips.
            answers = await self._statement(connection, [one.what for one in batch])
        except Exception as error:
            self._failed(batch, error)
        else:
            self._troubled = False
            for one, answer in zip(batch, answers, strict=True):
                self._waiting.pop(one, None)
                one.give(answer)
        finally:
            watch.cancel()

    def _failed(self, batch: Sequence[_Waiting[T, A]], error: Exception) -> None:
        """After a lost connection everybody keeps waiting: sending the same keys again finds what the lost statement did."""
        trouble = trouble_of(error)
        for one in batch:
            one.sent = False
            one.doubtful |= trouble is Trouble.lost
        if trouble is Trouble.lost:
            raise error
        if len(batch) > 1:  # one bad row must not refuse its neighbours
            for one in batch:
                one.alone = True
        elif trouble is not Trouble.clash:
            self._waiting.pop(batch[0], None)
            batch[0].fail(error if trouble is None else batch[0].unanswered())


async def stop(task: "asyncio.Task[Any]", *, seconds: float = 0.0) -> None:
    """Ends a task of the web process, which is given `seconds` to end by itself."""
    if seconds:
        await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def in_session(work: Callable[[WriteSession, Sequence[T]], Awaitable[Sequence[A | CountersignError]]]) -> Write[T, A]:
    """What writes a batch through a session."""

    async def write(connection: AsyncConnection, batch: Sequence[T]) -> Sequence[A | CountersignError]:
        async with Session(connection, expire_on_commit=False) as session:
            return await work(WriteSession(ReadSession(session)), batch)

    return write


def run_writer(engine: AsyncEngine) -> Writer[NewRun, Born]:
    """Creates runs; a key that belongs to a request that was no run raises KeyUsed."""
    return Writer(engine, _create, doubt=lambda run: f"Ask for run {run.id} to see whether it was accepted.")


async def _create(connection: AsyncConnection, runs: Sequence[NewRun]) -> list[Born | CountersignError]:
    born = await create(WriteDriver(await driver_of(connection)), runs)
    return [_own(run, born.get(run.key)) for run in runs]


def _own(run: NewRun, found: Born | None) -> Born | CountersignError:
    """Of several requests with one key in a batch, one has created the run."""
    if found is None:
        return KeyUsed()
    own = found.run_id == run.id
    return found if found.fresh == own else replace(found, fresh=own)
