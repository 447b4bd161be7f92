"""One machine of the hub: forks a web process and the supervisor of the workers, and starts again whichever ends, as systemd would.

Each gets the environment that is its own from the files `web.env` and `worker.env`, one `NAME=value` a line, in the folder `CHAOS_HOST`.
"""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn

from automations.__main__ import main as work
from benchmarks.chaos.clocks import set_clock
from benchmarks.chaos.mines import Field, lay
from bot.app import create_app
from commands.registries import load_own

LOOK_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = 0.1
STOP_SECONDS: Final = 10.0


class Host:
    """Keeps its two children alive until SIGTERM."""

    def __init__(self, folder: Path, port: int) -> None:
        self._programs: dict[str, Callable[[], Any]] = {"web": lambda: _serve(port), "supervisor": work}
        self._folder = folder
        self._pids: dict[str, int] = {}
        self._due = dict.fromkeys(self._programs, 0.0)
        self._ending = False

    def run(self) -> None:
        """Returns when all of it has ended."""
        signal.signal(signal.SIGTERM, self._end)
        load_own()
        gc.freeze()
        parent = os.getppid()
        while not self._ending and os.getppid() == parent:
            for name in self._programs:
                if name not in self._pids and time.monotonic() >= self._due[name]:
                    self._start(name)
            self._reap()
            time.sleep(LOOK_SECONDS)
        self._stop()

    def _start(self, name: str) -> None:
        pid = os.fork()
        if pid:
            self._pids[name] = pid
            return
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.setsid()
            Path("/proc/self/comm").write_text(f"cs-{name}")
            _take_environment(self._folder / f"{'web' if name == 'web' else 'worker'}.env")
            set_clock(float(os.environ["CHAOS_CLOCK"]))
            if rate := float(os.environ.get("CHAOS_MINES", "0")):
                lay(Field(Path(os.environ["CHAOS_MINES_FILE"]), rate, int(os.environ["CHAOS_SEED"])))
            self._programs[name]()
        finally:
            os._exit(0)

    def _reap(self) -> None:
        while self._pids:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            for name in [name for name, one in self._pids.items() if one == pid]:
                del self._pids[name]
                self._due[name] = time.monotonic() + PAUSE_SECONDS

    def _stop(self) -> None:
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
            for pid in self._pids.values():
                os.kill(pid, number)
            deadline = time.monotonic() + seconds
            while self._pids and time.monotonic() < deadline:
                self._reap()
                time.sleep(LOOK_SECONDS)

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._ending = True


def _serve(port: int) -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    uvicorn.run(create_app, factory=True, port=port, access_log=False, log_level="warning")


def _end_with(parent: int) -> None:
    """The supervisor's processes see for themselves when they are left alone; a web process does not."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _take_environment(file: Path) -> None:
    for line in file.read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ[name] = value


def main() -> None:
    """The port of its web process is the second word of the command line."""
    Host(Path(os.environ["CHAOS_HOST"]), int(sys.argv[1])).run()
