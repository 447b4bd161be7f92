"""The proxy does to a connection what its name says; the target here is a server that records and echoes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.fakes.proxies import DelayingProxy


class Echo:
    """Sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self.got = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1024):
                self.got += chunk
                writer.write(b"ok " + chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[DelayingProxy]:
    async with DelayingProxy("127.0.0.1", echo.port) as proxy:
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, *, within: float = 60.0) -> bytes:
        """Return what comes; nothing when the connection ends, however it ends."""
        async with asyncio.timeout(within):
            try:
                return await self.reader.read(1024)
            except ConnectionError:
                return b""


Connect = Callable[[DelayingProxy], Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    clients = []

    async def connect(proxy: DelayingProxy) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    yield connect
    for client in clients:
        client.writer.transport.abort()
    await asyncio.sleep(0)


async def until(condition: Callable[[], bool], *, within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_it_forwards_both_ways_at_once_without_a_delay(proxy: DelayingProxy, connect: Connect) -> None:
    ada = await connect(proxy)
    ada.send(b"hello")
    assert await ada.read() == b"ok hello"
    assert proxy.connections == 1


async def test_a_delay_counts_in_each_direction(proxy: DelayingProxy, connect: Connect) -> None:
    proxy.delay = 0.1
    ada = await connect(proxy)
    start = time.monotonic()
    ada.send(b"hello")
    assert await ada.read() == b"ok hello"
    assert time.monotonic() - start >= 0.2


async def test_a_stall_holds_everything_back_until_resumed(proxy: DelayingProxy, connect: Connect, echo: Echo) -> None:
    ada = await connect(proxy)
    proxy.stall()
    ada.send(b"hello")
    with pytest.raises(TimeoutError):
        await ada.read(within=0.1)
    assert echo.got == b""
    proxy.resume()
    assert await ada.read() == b"ok hello"


async def test_a_cut_closes_both_sides_and_new_connections_work(proxy: DelayingProxy, connect: Connect) -> None:
    ada = await connect(proxy)
    ada.send(b"hello")
    await ada.read()
    proxy.cut()
    assert await ada.read() == b""
    await until(lambda: proxy.connections == 0)
    lin = await connect(proxy)
    lin.send(b"again")
    assert await lin.read() == b"ok again"


async def test_cut_on_commit_forwards_it_and_loses_the_answer(proxy: DelayingProxy, connect: Connect, echo: Echo) -> None:
    ada = await connect(proxy)
    proxy.cut_on(b"COMMIT")
    ada.send(b"INSERT;")
    assert await ada.read() == b"ok INSERT;"
    ada.send(b"COMMIT;")
    assert await ada.read() == b""
    await until(lambda: echo.got == b"INSERT;COMMIT;")
    assert proxy.cuts == 1


async def test_cut_on_commit_can_keep_it_from_the_target(proxy: DelayingProxy, connect: Connect, echo: Echo) -> None:
    ada = await connect(proxy)
    proxy.cut_on(b"COMMIT", forward=False)
    ada.send(b"COMMIT;")
    assert await ada.read() == b""
    await until(lambda: proxy.connections == 0)
    assert echo.got == b""


async def test_a_pattern_in_two_pieces_is_seen(proxy: DelayingProxy, connect: Connect, echo: Echo) -> None:
    ada = await connect(proxy)
    proxy.cut_on(b"COMMIT", forward=False)
    ada.send(b"COM")
    assert await ada.read() == b"ok COM"
    ada.send(b"MIT")
    assert await ada.read() == b""
    assert echo.got == b"COM"


async def test_a_pattern_cuts_once_and_only_its_own_connection(proxy: DelayingProxy, connect: Connect) -> None:
    ada, lin = await connect(proxy), await connect(proxy)
    lin.send(b"hello")
    await lin.read()
    proxy.cut_on(b"COMMIT")
    ada.send(b"COMMIT")
    assert await ada.read() == b""
    lin.send(b"COMMIT")
    assert await lin.read() == b"ok COMMIT"


async def test_a_client_that_leaves_is_forgotten(proxy: DelayingProxy, connect: Connect) -> None:
    ada = await connect(proxy)
    ada.send(b"hello")
    await ada.read()
    ada.writer.close()
    await until(lambda: proxy.connections == 0)


async def test_a_target_that_is_not_there_ends_the_connection(connect: Connect) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with DelayingProxy("127.0.0.1", port) as proxy:
        ada = await connect(proxy)
        assert await ada.read() == b""
