"""Waiting for Postgres without the event loop: where one thing is done after another, the loop's part was a quarter of all time."""

import select
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from psycopg import AsyncConnection

# What takes longer may wait for something that this thread has to do first, such as the commit of another connection.
MILLISECONDS = 20
# psycopg's own words for what its generators wait for; poll has others.
_READ, _WRITE = 1, 2


@contextmanager
def waiting_here() -> Iterator[None]:
    """Whoever waits for an answer of Postgres meanwhile holds up all of this thread, for a moment; after it the loop waits as ever."""
    by_the_loop = AsyncConnection.wait

    async def wait(self: AsyncConnection[Any], gen: Generator[int, int, Any], *args: Any, **kwargs: Any) -> Any:
        if not self.pgconn.parameter_status(b"application_name"):  # the hub's ear, which waits for what may never come
            return await by_the_loop(self, gen, *args, **kwargs)  # type: ignore[arg-type]
        try:
            wanted = next(gen)
            while ready := _ready(self.pgconn.socket, wanted):
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
        return await by_the_loop(self, _rest(gen, wanted), *args, **kwargs)  # type: ignore[arg-type]

    with patch.object(AsyncConnection, "wait", wait):
        yield


def _ready(descriptor: int, wanted: int) -> int:
    poll = select.poll()
    poll.register(descriptor, (select.POLLIN if wanted & _READ else 0) | (select.POLLOUT if wanted & _WRITE else 0))
    found = poll.poll(MILLISECONDS)
    if not found:
        return 0
    event = found[0][1]
    ready = (_READ if event & ~select.POLLOUT else 0) | (_WRITE if event & ~select.POLLIN else 0)
    return ready & wanted


def _rest(gen: Generator[int, int, Any], wanted: int) -> Generator[int, int, Any]:
    while True:
        ready = yield wanted
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            return end.value
