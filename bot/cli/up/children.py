"""The processes of a hub: guarded so that none outlives it, watched, and ended in order."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

from store.embedded import guards

MOST_LOG_BYTES: Final = 10_000_000
LAST_BYTES: Final = 4_000
_TELLING: Final = ("rror", "COUNTERSIGN_", "annot", "already in use", "No module")


@dataclass(frozen=True)
class Part:
    """What a process is called in sentences, how it is started, and how long it may take to stop."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float


class Child:
    """A running part, in a session of its own, so that Ctrl-C in the terminal reaches the hub alone."""

    def __init__(self, part: Part, process: asyncio.subprocess.Process, log: Path) -> None:
        self.part = part
        self._process = process
        self._log = log

    @classmethod
    async def started(cls, part: Part, *, folder: Path) -> Self:
        """Starts the part with its log in this folder; the kernel ends it when this process dies, however it dies."""
        log = folder / f"{part.name.replace(' ', '-')}.log"
        guard = [sys.executable, "-I", "-S", str(guards.__file__), str(os.getpid()), str(int(signal.SIGTERM)), "0", "0"]
        with _opened(log) as output:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *part.command,
                env=dict(part.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(part, process, log)

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def ended(self) -> str:
        """Waits until it ends by itself, and says so in one sentence."""
        code = await self._process.wait()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The {self.part.name} {how}: {self._last_words()} (log: {self._log})"

    async def stop(self) -> None:
        """SIGTERM, and after its time SIGKILL for it and everything it started; returns when it is gone."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.part.stop_seconds):
                await self._process.wait()
        if self.is_running:
            for pid in (self._process.pid, *_descendants(self._process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await self._process.wait()

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = self._log.read_bytes()[-LAST_BYTES:].decode(errors="replace").splitlines()
            said = [" ".join(line.split()) for line in lines if line.strip()]
            telling = [line for line in said if any(word in line for word in _TELLING)]
            return (telling or said or ["it said nothing"])[-1][:300]
        return "it said nothing"


def _opened(path: Path) -> BinaryIO:
    too_long = path.exists() and path.stat().st_size > MOST_LOG_BYTES
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if too_long else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _descendants(pid: int) -> list[int]:
    """Every process that this one started, directly or not, where the kernel tells (Linux)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *_descendants(child)]
    return found
