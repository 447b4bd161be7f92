"""The hub's programs without their start-up: forked from a process that has imported them, each with an environment of its own.

Importing costs a CPU-second each time. That the programs start by themselves is shown by the stories of `countersign up` and of the image.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uvicorn

from automations.__main__ import main as work

ROOT: Final = Path(__file__).parents[1]
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "bot.app"])


class Fork:
    """A forked program, with as much of `subprocess.Popen` as stories use."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_become, args=(words, dict(environment), str(log)))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def send_signal(self, one: signal.Signals) -> None:
        if self._process.is_alive():
            os.kill(self.pid, one)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, as `Popen.wait` has it; raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("fork", timeout or 0)
        return self._process.exitcode


def _become(words: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    """What `python -m` with these words does, its output in the log."""
    os.setsid()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = list(words)
    sys.exit(uvicorn.main(words[1:]) if words[0] == "uvicorn" else work())
