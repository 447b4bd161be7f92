"""The supervisor: `python -m automations` starts planning, executing and housekeeping processes and restarts any that exits.

It imports everything once and forks: a killed worker is back in milliseconds, where importing its libraries anew costs more than a
CPU-second. Until it forks it opens no connection and starts no thread. The hub's own commands are imported before the fork, as the rest
of it is; those of others after it, so a restarted worker has the newest.
"""

import gc
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final
from uuid import uuid4

from commands.registries import load_own
from store.settings import Settings, WrongSetting

from .roles import run_role
from .slates import Slate

_log = logging.getLogger("automations")
STOP_SECONDS: Final = 12.0
STEADY_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 10.0
LOOK_SECONDS: Final = 0.05


@dataclass
class Child:
    """One supervised process in its slot; `pause` grows while it keeps failing at once. Those that are in the slot later read the slate."""

    role: str
    slot: str
    slate: Slate
    pid: int = 0
    started: float = 0.0
    pause: float = 0.05
    due: float = 0.0


class Supervisor:
    """Knows no database and no queue: it only keeps processes alive."""

    def __init__(self, settings: Settings) -> None:
        own = uuid4().hex[:8]
        wanted = [("housekeeping", 1), ("planning", settings.planning_processes), ("executing", settings.executing_processes)]
        self._settings = settings
        self._children = [Child(role, f"{own}-{n}", Slate.blank()) for role, count in wanted for n in range(count)]
        self._ending = False
        self._code = 0

    def run(self) -> int:
        """Supervises until SIGTERM or SIGINT; returns 0, or 2 when a child says that a setting is wrong."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._end)
        load_own()
        gc.freeze()  # else each child's first collection writes to, and so copies, all that it shares with the others
        gc.set_threshold(20_000, 20, 20)  # collecting took 3 % of the time of a busy executing process
        while not self._ending:
            for child in self._children:
                if not child.pid and time.monotonic() >= child.due:
                    self._start(child)
            self._reap()
            time.sleep(LOOK_SECONDS)
        self._stop()
        return self._code

    def _start(self, child: Child) -> None:
        child.started, own = time.monotonic(), os.getpid()
        child.pid = os.fork()
        if not child.pid:
            os._exit(_become(self._settings, child, parent=own))

    def _reap(self) -> None:
        while any(child.pid for child in self._children):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            for child in self._children:
                if child.pid == pid:
                    self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, code: int) -> None:
        """A child that was killed or ran for a while comes back at once; one that keeps failing comes back ever more slowly."""
        steady = code < 0 or time.monotonic() - child.started > STEADY_SECONDS
        child.pause = 0.05 if steady else min(LONGEST_PAUSE, child.pause * 2)
        child.due = time.monotonic() + child.pause
        child.pid = 0
        if not self._ending:
            _log.warning("%s ended with %s and is started again in %.2f s", child.role, code, child.pause)
        if code == 2:
            self._ending, self._code = True, 2

    def _end(self, _signal: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _stop(self) -> None:
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(child.pid for child in self._children) and time.monotonic() < deadline:
            self._reap()
            time.sleep(LOOK_SECONDS)
        self._tell(signal.SIGKILL)
        while any(child.pid for child in self._children):
            self._reap()
            time.sleep(LOOK_SECONDS)

    def _tell(self, what: signal.Signals) -> None:
        for child in self._children:
            if child.pid:
                os.kill(child.pid, what)


def _become(settings: Settings, child: Child, *, parent: int) -> int:
    """The child's whole life. Nothing may escape: the supervisor's own frames are below."""
    os.setsid()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_DFL)
    if (comm := Path("/proc/self/comm")).exists():  # what `ps` and `top` show
        comm.write_text(f"cs-{child.role}"[:15])
    try:
        return run_role(settings, child.role, child.slot, parent=parent, slate=child.slate)
    except BaseException:
        _log.exception("%s ended unexpectedly", child.role)
        return 1
    finally:
        logging.shutdown()
        sys.stdout.flush()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return Supervisor(Settings.read()).run()
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
