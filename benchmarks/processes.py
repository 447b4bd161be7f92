"""The processes of a side: started with a log of their own, ended with us, and never left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.errors import BenchmarkError
from store.embedded import guards

ROOT = Path(__file__).parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class Child:
    """One program, in a process group of its own, that gets SIGTERM when this process dies."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, account: tuple[int, int] = (0, 0)) -> None:
        self._log = log
        self._name = log.stem
        guard = [sys.executable, "-I", "-S", str(guards.__file__), str(os.getpid()), str(int(signal.SIGTERM)), *map(str, account)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*guard, *command],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def listens(self, port: int) -> None:
        """Return when it takes connections on this port of 127.0.0.1. Raises BenchmarkError."""
        await self._until(lambda: _taken(port), what=f"listen on port {port}")

    async def said(self, words: str) -> None:
        """Return when these words are in its log. Raises BenchmarkError."""
        await self._until(lambda: words in self._log.read_text(errors="replace"), what=f"say “{words}”")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for the whole group if it is still there some seconds later."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def _until(self, true: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not true():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["it wrote nothing"]
                raise BenchmarkError(f"{self._name} did not {what}: {last[0]}")
            await asyncio.sleep(0.02)


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
