"""A TCP proxy that delays, stalls and cuts, for tests of what happens when Postgres or Redis does not answer in time."""

import asyncio
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class DelayingProxy:
    """Listens on a free port of 127.0.0.1 and forwards to a target. Use it as an async context manager.

    `port` is where to connect, `delay` the seconds each chunk waits in each direction; it may be changed at any time
    and holds for the chunks that arrive from then on.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        """Name the target; it is connected to once for each client."""
        self.port = 0
        self.delay = 0.0
        self.cuts = 0
        self._target = (target_host, target_port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pattern: bytes | None = None
        self._forward = True
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to listen and cut what is left."""
        assert self._server is not None
        await self._stop_listening()
        tasks = [pair.task for pair in self._pairs]
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._pairs)

    async def refuse(self) -> None:
        """Cut every connection and let nobody connect, as if the target had been stopped, until `accept`."""
        await self._stop_listening()
        self.cut()
        await asyncio.sleep(0)

    async def _stop_listening(self) -> None:
        """Whoever was accepted a moment ago is served first: a server that is closed meanwhile leaves his socket open for good."""
        assert self._server is not None
        for one in self._server.sockets:
            asyncio.get_running_loop().remove_reader(one.fileno())
        await asyncio.sleep(0)
        self._server.close()

    async def accept(self) -> None:
        """Listen again, on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def stall(self) -> None:
        """Let nothing through, with every connection left open, until `resume`."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let everything through again, what has piled up first."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection on both sides at once; new ones are accepted."""
        for pair in list(self._pairs):
            pair.abort()

    def cut_on(self, pattern: bytes, *, forward: bool = True) -> None:
        """Cut the connection that next sends these bytes to the target, even when they come in pieces, and only that one.

        With `forward` the target still gets them, and only its answer is lost; without, it never sees them.
        """
        self._pattern, self._forward = pattern, forward

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        pair = _Pair(writer, far_writer, task)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._to_target(reader, far_writer, pair))
                directions.create_task(self._pump(far_reader, writer))
        except* OSError:
            pass
        except* asyncio.CancelledError:
            pass
        finally:
            self._pairs.discard(pair)
            pair.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            await self._pass(chunk, writer)
        await self._end(writer)

    async def _to_target(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: "_Pair") -> None:
        tail = b""
        while chunk := await reader.read(CHUNK):
            pattern = self._pattern
            if pattern is not None and pattern in tail + chunk:
                await self._cut_at(chunk, writer, pair)
                return
            tail = (tail + chunk)[-len(pattern) + 1 :] if pattern is not None and len(pattern) > 1 else b""
            await self._pass(chunk, writer)
        await self._end(writer)

    async def _cut_at(self, chunk: bytes, writer: asyncio.StreamWriter, pair: "_Pair") -> None:
        self._pattern = None
        self.cuts += 1
        # The client goes first, so that the target's answer cannot slip through; the target's side is closed after the bytes.
        pair.near.transport.abort()
        if self._forward:
            await self._pass(chunk, writer)
            writer.close()
        else:
            pair.abort()

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flowing.wait()
        writer.write(chunk)
        await writer.drain()

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()


class _Pair:
    """The two sides of one connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, task: "asyncio.Task[None]") -> None:
        self.near, self.far, self.task = near, far, task

    def abort(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()
        self.task.cancel()

    def close(self) -> None:
        self.near.close()
        self.far.close()
