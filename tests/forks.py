"""The hub's programs without their start-up: forked from a process that has imported them, each with an environment of its own.

Importing costs a CPU-second each time. That the programs start by themselves is shown by the stories of `countersign up` and of the image.
Their doors have the patience that those of the test's own process have.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import uvicorn

from automations.__main__ import main as work
from bot import deadlines
from bot.cli import main as call
from store import databases

ROOT: Final = Path(__file__).parents[1]
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, "bot.app", "tests.preloads"])
_PROGRAMS: Final[dict[str, Callable[[], Any]]] = {"automations": work, "countersign": call, "uvicorn": uvicorn.main}


class Fork:
    """A forked program, with as much of `subprocess.Popen` as stories use. It reads `typed`, and its output is added to the two files."""

    def __init__(
        self,
        words: tuple[str, ...],
        environment: Mapping[str, str],
        out: Path,
        *,
        err: Path | None = None,
        typed: str = os.devnull,
        program: Callable[[], Any] | None = None,
    ) -> None:
        """`program` is what the first word stands for, unless that is one of the hub's own."""
        patience = (deadlines.ANSWER_SECONDS, databases.DOOR_SECONDS)
        self._process = _FORKS.Process(target=_become, args=(program, words, dict(environment), patience, typed, str(out), str(err or out)))
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


def _become(
    program: Callable[[], Any] | None, words: tuple[str, ...], environment: dict[str, str], patience: tuple[float, int], *files: str
) -> None:
    """What `python -m` with these words does, with these files as its standard input, output and error output."""
    gc.freeze()  # what was imported before the fork is not looked through, and so copied, by each fork
    os.setsid()
    os.chdir(environment.get("HOME", ROOT) if words[0] == "countersign" else ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(files):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY, 0o600), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.argv = list(words)
    with patch.object(deadlines, "ANSWER_SECONDS", patience[0]), patch.object(databases, "DOOR_SECONDS", patience[1]):
        sys.exit((program or _PROGRAMS[words[0]])())
