"""The supervisor: `python -m automations` starts planning, executing and housekeeping processes and restarts any that exits."""

import logging
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType
from typing import Final
from uuid import uuid4

from store.settings import Settings, WrongSetting

_log = logging.getLogger("automations")
STOP_SECONDS: Final = 12.0
STEADY_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 10.0


@dataclass
class Child:
    """One supervised process in its slot; `pause` grows while it keeps dying at once."""

    role: str
    slot: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.1
    due: float = 0.0


class Supervisor:
    """Knows no database and no queue: it only keeps processes alive."""

    def __init__(self, settings: Settings) -> None:
        own = uuid4().hex[:8]
        wanted = [("housekeeping", 1), ("planning", settings.planning_processes), ("executing", settings.executing_processes)]
        self._children = [Child(role, f"{own}-{n}") for role, count in wanted for n in range(count)]
        self._ending = False

    def run(self) -> int:
        """Supervises until SIGTERM or SIGINT; returns 0, or 2 when a child says that a setting is wrong."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._end)
        code = 0
        while not self._ending:
            for child in self._children:
                if child.process is None and time.monotonic() >= child.due:
                    self._start(child)
                elif child.process is not None and child.process.poll() is not None:
                    code = self._ended(child)
            time.sleep(0.05)
        self._stop()
        return code

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen([sys.executable, "-m", "automations.roles", child.role, child.slot], start_new_session=True)
        child.started = time.monotonic()

    def _ended(self, child: Child) -> int:
        """A child that ran for a while comes back at once; one that keeps dying comes back ever more slowly."""
        assert child.process is not None  # noqa: S101  the caller has polled it
        code = child.process.returncode
        steady = time.monotonic() - child.started > STEADY_SECONDS
        child.pause = 0.1 if steady or code < 0 else min(LONGEST_PAUSE, child.pause * 2)
        child.due = time.monotonic() + child.pause
        child.process = None
        _log.warning("%s ended with %s and is started again in %.1f s", child.role, code, child.pause)
        if code == 2:
            self._ending = True
            return 2
        return 0

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _stop(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return Supervisor(Settings.read()).run()
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
