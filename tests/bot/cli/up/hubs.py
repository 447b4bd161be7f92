"""A whole hub as `countersign up --demo` starts it, and what is left of it afterwards."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bot.cli.lines import surroundings

READY_SECONDS = 180.0


class Hub:
    """A running hub in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = {"COUNTERSIGN_DATA_DIR": str(folder / "data"), "COUNTERSIGN_PORT": str(self.port)}
        self.said = ""
        self.ready_after = 0.0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it has greeted; what it said is in `said`."""
        began = time.monotonic()
        command = [sys.executable, "-P", "-m", "bot.cli", "up", "--demo"]
        self._process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=surroundings(self.folder) | self.settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # A hub that never greets must end the reading, too.
        watchdog = threading.Timer(READY_SECONDS, self._process.kill)
        watchdog.start()
        assert self._process.stdout is not None
        self.said = "".join(iter_until(self._process.stdout, "Ctrl-C stops everything."))
        watchdog.cancel()
        self.ready_after = time.monotonic() - began
        if self._process.poll() is not None or "Ctrl-C" not in self.said:
            raise AssertionError(f"it did not start: {self.ended()}")

    def descendants(self) -> dict[int, str]:
        """Its processes and theirs, with their command lines."""
        assert self._process is not None
        return {pid: words_of(pid) for pid in _below(self._process.pid)}

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)

    def ended(self, *, seconds: float = 60) -> tuple[int, str]:
        """Its exit code and what it said on standard error, once it has ended."""
        assert self._process is not None
        _, err = self._process.communicate(timeout=seconds)
        return self._process.returncode, err

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def demo_hub(folder: Path) -> Iterator[Hub]:
    """A hub that has not been started; nothing of it is left afterwards."""
    hub = Hub(folder)
    try:
        yield hub
    finally:
        hub.kill()


def iter_until(lines: Iterator[str], words: str) -> Iterator[str]:
    for line in lines:
        yield line
        if words in line:
            return


def links_in(said: str) -> list[str]:
    return re.findall(r"https?://\S+", said)


def environment_of(pid: int) -> dict[str, str]:
    """What a process was told."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(one.split("=", 1) for one in entries if "=" in one)


def words_of(pid: int) -> str:
    """A process's command line; empty when it is gone or only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _below(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            yield child
            yield from _below(child)
