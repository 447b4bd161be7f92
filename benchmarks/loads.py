"""A load generator that costs little: raw sockets, requests made beforehand, and of each answer only the status and the length read."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import urlsplit

from benchmarks.errors import BenchmarkError

IDLE_SPACING_SECONDS = 0.03
ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Load:
    """What one sample saw. Times are of CLOCK_MONOTONIC, in seconds.

    `asked_at` has one entry for each request sent, in the order of the requests; `latencies` one for each answer, in order of arrival.
    `counted` answers with a status of 200 and something came within `seconds`; `not_ok` had another status, whenever they came.
    """

    seconds: float = 0.0
    counted: int = 0
    not_ok: int = 0
    asked_at: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.counted / self.seconds

    @property
    def p50_ms(self) -> float:
        """The median latency in milliseconds."""
        return percentile(self.latencies, 50) * 1000

    @property
    def p99_ms(self) -> float:
        """The latency in milliseconds that one answer in a hundred exceeds."""
        return percentile(self.latencies, 99) * 1000


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank); raises BenchmarkError when there is none."""
    if not values:
        raise BenchmarkError("A sample has no values: the side answered nothing in time.")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


async def sustained(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """Keep each of `connections` busy with one request at a time for `seconds`, then wait for the answers still out.

    Ends early, with the true `seconds`, when the requests run out: none is ever sent twice. Raises BenchmarkError when the server
    closes a connection or stops answering.
    """
    crowd = _Crowd(iter(requests))
    members = await _connect(url, connections, listener=crowd)
    try:
        started = time.monotonic()
        crowd.start(members, until=started + seconds)
        async with asyncio.timeout(seconds + ANSWER_SECONDS):
            await crowd.finished
        crowd.load.seconds = crowd.until - started
        return crowd.load
    except TimeoutError as error:
        raise BenchmarkError(f"{url} left requests unanswered for {ANSWER_SECONDS:.0f} s.") from error
    finally:
        _close(members)


async def spaced(
    url: str, requests: Sequence[bytes], *, pause: float = IDLE_SPACING_SECONDS, after: Callable[[int], Awaitable[None]] | None = None
) -> Load:
    """One connection, one request at a time and a pause in seconds before each, so that the server has nothing else to do.

    `after` is awaited with the position of each request once it is answered. Raises BenchmarkError as `sustained` does.
    """
    load = Load()
    walker = _Walker()
    (member,) = members = await _connect(url, 1, listener=walker)
    try:
        started = time.monotonic()
        for position, request in enumerate(requests):
            await asyncio.sleep(pause)
            answer = walker.expect()
            load.asked_at.append(member.ask(request))
            async with asyncio.timeout(ANSWER_SECONDS):
                _note(load, *await answer)
            if after:
                await after(position)
        load.seconds = time.monotonic() - started
        return load
    except TimeoutError as error:
        raise BenchmarkError(f"{url} left a request unanswered for {ANSWER_SECONDS:.0f} s.") from error
    finally:
        _close(members)


def is_whole(answer: bytes) -> bool:
    """Whether these bytes are one complete HTTP/1.1 answer; raises BenchmarkError for one without a Content-Length."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    start = answer.find(b"ontent-length:", 0, end)
    if start < 0:
        start = answer.find(b"ontent-Length:", 0, end)
    if start < 0:
        raise BenchmarkError(f"The load generator reads only answers with a Content-Length, not {answer[:60]!r}.")
    line_end = answer.index(b"\r\n", start)
    return len(answer) >= end + 4 + int(answer[start + 14 : line_end])


class _Listener(Protocol):
    def answered(self, member: "_Connection", status: bytes, latency: float) -> None: ...

    def broken(self, error: BenchmarkError) -> None: ...


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request out."""

    def __init__(self, listener: _Listener) -> None:
        self._listener = listener
        self._kept = b""
        self._asked = 0.0
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, request: bytes) -> float:
        self._asked = time.monotonic()
        self._transport.write(request)
        return self._asked

    def data_received(self, data: bytes) -> None:
        answer = self._kept + data if self._kept else data
        try:
            whole = is_whole(answer)
        except BenchmarkError as error:
            self._listener.broken(error)
            return
        self._kept = b"" if whole else answer
        if whole:
            self._listener.answered(self, answer[9:12], time.monotonic() - self._asked)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._listener.broken(
                BenchmarkError(f"The server closed a connection that it should keep open ({error or 'no reason given'}).")
            )

    def close(self) -> None:
        self._closing = True
        self._transport.close()


class _Crowd:
    """Many connections that share one pile of requests until a moment has come."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.load = Load()
        self.until = 0.0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._out = 0
        self._dry = False

    def start(self, members: Sequence[_Connection], *, until: float) -> None:
        self.until = until
        self._out = len(members)
        for member in members:
            self._next(member)

    def answered(self, member: _Connection, status: bytes, latency: float) -> None:
        in_time = time.monotonic() < self.until
        _note(self.load, status, latency, counts=in_time)
        self._next(member) if in_time else self._rest()

    def broken(self, error: BenchmarkError) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    def _next(self, member: _Connection) -> None:
        request = next(self._requests, None)
        if request is None:
            self._dry = True
            self._rest()
        else:
            self.load.asked_at.append(member.ask(request))

    def _rest(self) -> None:
        self._out -= 1
        if self._out == 0 and not self.finished.done():
            if self._dry:
                self.until = min(self.until, time.monotonic())
            self.finished.set_result(None)


class _Walker:
    """One connection whose every answer is awaited."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[bytes, float]] = asyncio.get_running_loop().create_future()

    def expect(self) -> asyncio.Future[tuple[bytes, float]]:
        if self._answer.done() and self._answer.exception() is None:
            self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def answered(self, _member: _Connection, status: bytes, latency: float) -> None:
        self._answer.set_result((status, latency))

    def broken(self, error: BenchmarkError) -> None:
        if self._answer.done():
            self._answer = asyncio.get_running_loop().create_future()
        self._answer.set_exception(error)


async def _connect(url: str, count: int, *, listener: _Listener) -> list[_Connection]:
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    loop = asyncio.get_running_loop()
    members: list[_Connection] = []
    try:
        for _ in range(count):
            _, member = await loop.create_connection(lambda: _Connection(listener), host, port)
            members.append(member)
    except OSError as error:
        _close(members)
        raise BenchmarkError(f"Nothing takes connections at {url} ({error}).") from error
    return members


def _note(load: Load, status: bytes, latency: float, *, counts: bool = True) -> None:
    good = status[:1] == b"2"
    load.latencies.append(latency)
    load.counted += good and counts
    load.not_ok += not good


def _close(members: Sequence[_Connection]) -> None:
    for member in members:
        member.close()
