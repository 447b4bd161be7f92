"""The load generator counts what it should and stops rather than lie."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.loads import is_whole, percentile, spaced, sustained

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


async def test_every_answer_counts_and_no_request_is_sent_twice() -> None:
    async with _server(lambda _: [FINE]) as url:
        load = await sustained(url, [ASK] * 200, connections=8, seconds=30)
    assert len(load.asked_at) == len(load.latencies) == load.counted == 200
    assert load.not_ok == 0
    assert load.seconds < 30
    assert load.rate == pytest.approx(200 / load.seconds)


async def test_it_stops_asking_when_the_time_is_over() -> None:
    async with _server(lambda _: [FINE]) as url:
        load = await sustained(url, [ASK] * 1_000_000, connections=2, seconds=0.05)
    assert load.seconds == pytest.approx(0.05)
    assert 0 < load.counted <= len(load.latencies) == len(load.asked_at) < 1_000_000


async def test_a_refusal_is_not_a_good_answer() -> None:
    async with _server(lambda number: [BUSY if number % 4 == 0 else FINE]) as url:
        load = await sustained(url, [ASK] * 40, connections=1, seconds=30)
    assert (load.counted, load.not_ok) == (30, 10)


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async with _server(lambda _: [FINE[:20], FINE[20:-1], FINE[-1:]]) as url:
        load = await spaced(url, [ASK] * 3, pause=0)
    assert len(load.latencies) == load.counted == 3


async def test_alone_the_next_waits_for_what_follows_the_answer() -> None:
    seen = []

    async def after(position: int) -> None:
        seen.append(position)

    async with _server(lambda _: [FINE]) as url:
        load = await spaced(url, [ASK] * 4, pause=0, after=after)
    assert seen == [0, 1, 2, 3]
    assert load.asked_at == sorted(load.asked_at)


async def test_a_server_that_hangs_up_stops_the_benchmark() -> None:
    async with _server(lambda number: [FINE] if number < 5 else []) as url:
        with pytest.raises(BenchmarkError, match="closed a connection"):
            await sustained(url, [ASK] * 40, connections=1, seconds=30)
    async with _server(lambda _: []) as url:
        with pytest.raises(BenchmarkError, match="closed a connection"):
            await spaced(url, [ASK], pause=0)


async def test_nobody_there_is_one_sentence() -> None:
    async with _server(lambda _: []) as url:
        pass
    with pytest.raises(BenchmarkError, match="Nothing takes connections"):
        await sustained(url, [ASK], connections=1, seconds=1)


@pytest.mark.parametrize("length", range(len(FINE)))
def test_a_part_is_not_whole(length: int) -> None:
    assert not is_whole(FINE[:length])
    assert is_whole(FINE)


def test_an_answer_of_unknown_length_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="Content-Length"):
        is_whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (0, 50, 99, 100)] == [1, 50, 99, 100]
    with pytest.raises(BenchmarkError, match="no values"):
        percentile([], 50)


@asynccontextmanager
async def _server(pieces: Callable[[int], list[bytes]]) -> AsyncIterator[str]:
    """Answers the n-th request with these pieces, each on its own; with none it hangs up."""
    number = 0
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        talk_of_this = asyncio.current_task()
        assert talk_of_this
        talks.add(talk_of_this)
        while await reader.read(len(ASK)):
            number += 1
            answer = pieces(number)
            for piece in answer:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not answer:
                break
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    if talks:
        _, unfinished = await asyncio.wait(talks, timeout=5)
        assert not unfinished
