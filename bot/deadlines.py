"""One transaction under a deadline whose answer never contradicts the database: done, nothing done, or not confirmed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from countersign.errors import CountersignError
from store.databases import ReadSession, WriteSession

T = TypeVar("T")
# Slack drops us at 3 s; 2.1 s leaves room for parsing before and the way back after.
ANSWER_SECONDS: Final = 2.1
_abandoned: set[asyncio.Task[Any]] = set()


class NothingDone(CountersignError):
    """The database did not answer in time, and nothing was committed."""

    def __init__(self) -> None:
        super().__init__("The database does not answer; nothing was done. Please try again in a minute.")


class NotConfirmed(CountersignError):
    """A COMMIT was sent and not answered."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Not confirmed: the database did not answer in time. {what} Repeating it is safe.")


class _Stage:
    committing = False
    given_up = False


async def committed(
    engine: AsyncEngine, work: Callable[[WriteSession], Awaitable[T]], *, what: str = "", seconds: float = ANSWER_SECONDS
) -> T:
    """Runs `work` in a transaction and commits it, within `seconds`.

    Raises NothingDone when it could not be done and certainly was not, NotConfirmed when a COMMIT got no answer; `what` tells the person
    how to find out.
    """
    stage = _Stage()
    task = asyncio.ensure_future(_work(engine, work, stage))
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        stage.given_up = True
        _abandon(task)
        raise NotConfirmed(what) if stage.committing else NothingDone
    try:
        return task.result()
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if stage.committing:
            raise NotConfirmed(what) from error
        if isinstance(error, DBAPIError) and not _is_trouble(error):
            raise
        raise NothingDone from error


async def _work(engine: AsyncEngine, work: Callable[[WriteSession], Awaitable[T]], stage: _Stage) -> T:
    async with AsyncSession(engine, expire_on_commit=False, autoflush=False) as session:
        result = await work(WriteSession(ReadSession(session)))
        if stage.given_up:
            raise NothingDone
        stage.committing = True
        await session.commit()
        return result


def _abandon(task: "asyncio.Future[Any]") -> None:
    """The caller has its answer; the connection is given up in its own time, and what it still says is not an error of ours."""
    task.cancel()
    kept = asyncio.ensure_future(asyncio.wait({task}))
    _abandoned.add(kept)
    kept.add_done_callback(_abandoned.discard)
    task.add_done_callback(lambda one: one.cancelled() or one.exception())


def _is_trouble(error: DBAPIError) -> bool:
    """Connection lost, statement cancelled by its timeout, lock not had in time, server stopping, disk full."""
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state is None or state[:2] in ("08", "53", "55", "57") or state in ("40001", "40P01", "25P03")
