"""One transaction under a deadline whose answer never contradicts the database: done, nothing done, or not confirmed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from countersign.errors import CountersignError
from store.databases import ReadSession, Trouble, WriteSession, by_itself, driver_of, on_open, sever, trouble_of
from store.drivers import Driver, Session

T = TypeVar("T")
# Slack drops us at 3 s and we promise 2.5 s; the rest is for parsing before, the way back after, and a busy machine.
ANSWER_SECONDS: Final = 2.0
# A connection found broken is replaced at once; a server that is just restarting gets one more moment.
PAUSES: Final = (0.0, 0.3)
_END_SECONDS: Final = 1.0
_current: ContextVar["Deadline | None"] = ContextVar("deadline", default=None)
_under_way: "set[_Attempt[Any]]" = set()
_abandoned: set[asyncio.Task[Any]] = set()


class NothingDone(CountersignError):
    """The database did not answer in time, and nothing was committed."""

    def __init__(self) -> None:
        super().__init__("The database does not answer; nothing was done. Please try again in a minute.")


class NotConfirmed(CountersignError):
    """A COMMIT was sent and not answered."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Not confirmed: the database did not answer in time. {what} Repeating it is safe.".replace("  ", " "))


class NotShown(NotConfirmed):
    """What was asked is committed, and what was to be read after it could not be read in time."""

    def __init__(self, achieved: str) -> None:
        super().__init__("")
        self.args = (f"{achieved} The database does not answer any more, so the rest cannot be shown. Repeating it is safe.",)


class Deadline:
    """When one request has to be answered, in seconds from its first use; shared by everything that is done for that request.

    `achieved` says what has been committed for it, so that a later failure is not told as "nothing was done".
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None
        self.over = False
        self.achieved = ""

    @property
    def left(self) -> float:
        """Seconds until the answer is due, at least 0."""
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds
        return max(0.0, self._ends - time.monotonic())

    def nothing_done(self) -> CountersignError:
        """The error to raise when what comes next could not be done and certainly was not."""
        return NotShown(self.achieved) if self.achieved else NothingDone()


def answering(seconds: float = 0.0) -> AbstractContextManager[Deadline]:
    """The deadline of the request that is being answered: the one running in this context, else a new one until the block ends.

    A new one is over after `seconds`, or after ANSWER_SECONDS.

    A door opens it around everything one request needs (who is it, what are the rules, do it), so that the parts share one budget. Tasks
    started in the block and outliving it get budgets of their own.
    """
    running = _current.get()
    return _Own(seconds or ANSWER_SECONDS) if running is None or running.over else nullcontext(running)


class _Own:
    """A deadline that ends with its block. Not a generator: every request opens several blocks."""

    def __init__(self, seconds: float) -> None:
        self._deadline = Deadline(seconds)

    def __enter__(self) -> Deadline:
        self._before = _current.set(self._deadline)
        return self._deadline

    def __exit__(self, *_: object) -> None:
        self._deadline.over = True
        _current.reset(self._before)


async def committed(engine: AsyncEngine, work: Callable[[WriteSession], Awaitable[T]], *, what: str = "") -> T:
    """Runs `work` in a transaction and commits it, within what is left of the request's deadline; what it returned.

    `work` may run again, in a fresh transaction, when its first one was lost before the COMMIT. Raises NothingDone when it could not be
    done and certainly was not, NotConfirmed when a COMMIT got no answer; `what` tells the person how to find out.
    """
    return await _within_deadline(lambda: _Attempt(engine, work, commits=True), what)


async def read(engine: AsyncEngine, work: Callable[[ReadSession], Awaitable[T]]) -> T:
    """What `work` reads, within what is left of the request's deadline; raises NothingDone. Without a COMMIT nothing can be in doubt."""
    return await _within_deadline(lambda: _Attempt(engine, work, commits=False), "")


async def given_up(engine: AsyncEngine) -> None:
    """Gives up what is still under way on this engine, and returns when all its connections are back; for whoever closes it."""
    for one in [one for one in _under_way if one.is_on(engine)]:
        one.give_up()
    if _abandoned:
        await asyncio.wait(set(_abandoned), timeout=2 * _END_SECONDS)
    # A session whose task is cancelled closes in a task of its own, which nobody else waits for.
    ends = time.monotonic() + _END_SECONDS
    while _checked_out(engine) and time.monotonic() < ends:  # noqa: ASYNC110  a pool tells nobody
        await asyncio.sleep(0.01)


def _checked_out(engine: AsyncEngine) -> int:
    return engine.pool.checkedout() if isinstance(engine.pool, QueuePool) else 0


async def _within_deadline(attempt: "Callable[[], _Attempt[T]]", what: str) -> T:
    with answering() as deadline:
        for pause in (*PAUSES, None):
            one = attempt()
            try:
                return await one.within(deadline)
            except (SQLAlchemyError, ConnectionError, TimeoutError) as error:
                trouble = trouble_of(error)
                if one.committing and trouble is Trouble.lost:
                    raise NotConfirmed(what) from error
                if trouble is None:
                    raise
                if trouble is Trouble.refused or pause is None or deadline.left <= pause:
                    raise deadline.nothing_done() from error
            except _Late:
                raise (NotConfirmed(what) if one.committing else deadline.nothing_done()) from None
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")


class _Late(Exception):
    """The deadline has passed."""


class _Attempt(Generic[T]):
    """One transaction, which its caller may give up at any moment."""

    def __init__(self, engine: AsyncEngine, work: Callable[[WriteSession], Awaitable[T]], *, commits: bool) -> None:
        # What only reads begins no transaction: it would end with a ROLLBACK, after which the driver forgets all it has prepared.
        self._engine = engine if commits else by_itself(engine)
        self._work, self._commits = work, commits
        self._driver: Driver | None = None
        self._task: asyncio.Task[T] | None = None
        self._given_up = False
        self.committing = False

    def is_on(self, engine: AsyncEngine) -> bool:
        return self._engine.pool is engine.pool

    async def within(self, deadline: Deadline) -> T:
        """What `work` returned, committed. Raises _Late when the time is over; the connection is then cut off, which waits for nobody."""
        if not deadline.left:
            raise _Late
        self._task = task = asyncio.ensure_future(self._run())
        _under_way.add(self)
        task.add_done_callback(lambda _: _under_way.discard(self))
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline.left)
        except asyncio.CancelledError:
            self.give_up()
            raise
        if done and not (self._given_up and (task.cancelled() or task.exception())):
            return task.result()
        self.give_up()
        raise _Late

    async def _run(self) -> T:
        on_open.set(self._use)
        async with Session(self._engine, expire_on_commit=False, autoflush=False) as session:
            connection = await session.connection()
            if self._given_up:
                raise _Late
            self._use(await driver_of(connection))
            result = await self._work(WriteSession(ReadSession(session)))
            if self._given_up:
                raise _Late
            if self._commits:
                self.committing = True
                await session.commit()
            return result

    def _use(self, driver: Driver) -> None:
        self._driver = driver
        if self._given_up:
            sever(driver)

    def give_up(self) -> None:
        """Cancelling would first ask the silent server to cancel, for up to 10 s; a severed connection frees its place at once.

        One that waits for a connection has a moment to get it and give it back: cancelled just then, it would leave it to the collector.
        """
        if self._task is None or self._given_up:
            return
        self._given_up = True
        if self._driver is not None:
            sever(self._driver)
        kept = asyncio.ensure_future(_ended(self._task))
        _abandoned.add(kept)
        kept.add_done_callback(_abandoned.discard)


async def _ended(task: "asyncio.Future[Any]") -> None:
    """Its caller has an answer, so what the task still says is an error of nobody."""
    if task not in (await asyncio.wait({task}, timeout=_END_SECONDS))[0]:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
