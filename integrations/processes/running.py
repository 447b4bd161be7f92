"""Starting a script and never losing it: no shell, a scrubbed environment, a time limit, and nothing left behind."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from countersign.errors import StepFailed
from integrations.processes.guards import GRACE_SECONDS
from integrations.processes.outputs import Stream

Heard = Callable[[Stream, bytes], Awaitable[None]]
Asked = Callable[[], Awaitable[bool]]

_GUARD: Final = str(Path(__file__).with_name("guards.py"))
_ASK_SECONDS: Final = 0.5
# Twice the guard's own patience (SIGTERM, then SIGKILL) and a little for the machine.
_END_SECONDS: Final = 2 * GRACE_SECONDS + 2


@dataclass(frozen=True)
class Ended:
    """How a script ended: its exit code (128 + n for signal n), and what made us end it, if we did."""

    code: int
    because: Literal["", "cancelled", "too long"] = ""


async def run(
    argv: Sequence[str],
    *,
    home: Path,
    environment: Mapping[str, str],
    seconds: float,
    heard: Heard,
    feed: bytes = b"",
    cancelled: Asked | None = None,
) -> Ended:
    """Runs `argv` in `home` with exactly the environment `scrubbed` gives, and returns when nothing of it is left.

    `home` is made for this run: it is deleted when the run is ended early.
    `heard` gets both streams' bytes as they come; `feed` goes to standard input, which then ends. `cancelled` is asked twice a second.
    On a cancelled asyncio task, a broken `heard` or the death of this process, the script and all it started end too.
    """
    async with _guarded(argv, home=home, environment=scrubbed(home, environment), feed=feed) as script:
        listening = asyncio.create_task(_listen(script.process, heard))
        asking = asyncio.create_task(_until(cancelled)) if cancelled else None
        try:
            await asyncio.wait({listening} | ({asking} if asking else set()), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
                return Ended(await script.process.wait())
            because: Literal["cancelled", "too long"] = "cancelled" if asking and asking.done() and asking.result() else "too long"
            script.let_go()
            # Its last words are heard while it gets the chance to end well.
            await asyncio.wait({listening}, timeout=_END_SECONDS)
            return Ended(script.process.returncode or 0, because)
        finally:
            await _stopped(listening, asking)


def scrubbed(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a script: nothing of the worker's own, which holds credentials."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"} | dict(environment) | {"HOME": str(home)}


@dataclass
class _Script:
    process: asyncio.subprocess.Process
    leash: int

    def let_go(self) -> None:
        """Lets the guard end everything; at once, without waiting, and harmless when repeated."""
        if self.leash >= 0:
            os.close(self.leash)
            self.leash = -1


@asynccontextmanager
async def _guarded(argv: Sequence[str], *, home: Path, environment: Mapping[str, str], feed: bytes) -> AsyncIterator[_Script]:
    held_by_guard, leash = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _GUARD, str(held_by_guard), str(len(environment))),
            *(f"{name}={value}" for name, value in environment.items()),
            *argv,
            stdin=asyncio.subprocess.PIPE if feed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env={"LC_ALL": "C.UTF-8"},
            pass_fds=(held_by_guard,),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        os.close(leash)
        raise StepFailed(f"{Path(argv[0]).name} cannot be started: {getattr(error, 'strerror', None) or error}") from None
    except BaseException:
        os.close(leash)
        raise
    finally:
        os.close(held_by_guard)
    script = _Script(process, leash)
    try:
        _fed(process, feed)
        yield script
    finally:
        script.let_go()
        await asyncio.shield(_gone(process))


def _fed(process: asyncio.subprocess.Process, feed: bytes) -> None:
    if process.stdin:
        process.stdin.write(feed)
        process.stdin.close()


async def _listen(process: asyncio.subprocess.Process, heard: Heard) -> None:
    async def follow(stream: Stream, reader: asyncio.StreamReader | None) -> None:
        while reader and (data := await reader.read(16_384)):
            await heard(stream, data)
        await heard(stream, b"")

    both = asyncio.create_task(follow("stdout", process.stdout)), asyncio.create_task(follow("stderr", process.stderr))
    try:
        await asyncio.gather(*both)
    finally:
        await _stopped(*both)


async def _until(cancelled: Asked) -> bool:
    while not await cancelled():  # noqa: ASYNC110
        await asyncio.sleep(_ASK_SECONDS)  # the answer is a row in a database, not an event of this process
    return True


async def _stopped(*tasks: asyncio.Task[Any] | None) -> None:
    running = [one for one in tasks if one]
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Waits until the guard has ended, throwing away what is still printed so that nobody blocks on a full pipe."""

    async def thrown_away(reader: asyncio.StreamReader | None) -> None:
        while reader and await reader.read(65_536):
            pass

    try:
        async with asyncio.timeout(_END_SECONDS):
            await asyncio.gather(thrown_away(process.stdout), thrown_away(process.stderr), process.wait())
    except TimeoutError:
        process.kill()
