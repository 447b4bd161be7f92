"""Run one server program for one folder: at most one at a time, found again after a crash, gone when the hub is gone.

Two file locks say who is who. `hub.lock` is held by the hub that started the server. `server.lock` is inherited by the server and
its children, so it is free exactly when none of them lives: no process id is ever guessed from a stale file.
"""

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from store.embedded.accounts import Account

START_SECONDS = 60.0
STOP_SECONDS = 15.0
LAST_LOG_BYTES = 4_000
MOST_LOG_BYTES = 10_000_000

log = logging.getLogger(__name__)


class EmbeddedError(RuntimeError):
    """An embedded server could not be started or found; the message is one sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run the server once: the whole command line, and the account it runs under."""

    command: list[str]
    account: Account
    environment: Mapping[str, str]


class EmbeddedServer:
    """The process of one server in one folder.

    `stop_signals` are sent in this order, `STOP_SECONDS` apart, until it has ended.
    """

    def __init__(self, name: str, folder: Path, *, stop_signals: tuple[signal.Signals, ...]) -> None:
        self.name = name
        self.folder = folder
        self.log_path = folder / f"{name}.log"
        self._stop_signals = (*stop_signals, signal.SIGKILL)
        self._hub_lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def mine(self) -> bool:
        """Whether this hub started the server or took it over from a dead hub, and so is the one to stop it."""
        return self._hub_lock is not None

    def start(self, *, launch: Callable[[], Launch], answers: Callable[[], bool]) -> None:
        """Bring the server up, or join the one that runs; return when `answers()` is true.

        `launch` is called for each of up to three attempts, so that it can choose another port. Raises EmbeddedError.
        """
        if self._process is not None and self._process.poll() is None:
            return
        if self._hub_lock is None:
            self._hub_lock = _try_lock(self.folder / "hub.lock")
        try:
            if not self.mine:
                log.info("joining the %s that another hub runs in %s", self.name, self.folder)
                self._wait(answers)
            elif not self._adopted(answers):
                self._launched(launch, answers)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server if it is ours, and return when no process of it is left. Harmless when nothing runs."""
        if self._hub_lock is None:
            return
        for number in self._stop_signals:
            if self._ended_by(number):
                break
        else:
            log.error("%s in %s did not end even after SIGKILL", self.name, self.folder)
        self._process = None
        os.close(self._hub_lock)
        self._hub_lock = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the server as a crash would, and return when it is gone; `start()` brings it back."""
        self._ended_by(number)
        self._process = None

    def last_words(self) -> str:
        """The last lines of the server's log that say what is wrong, on one line."""
        with suppress(OSError):
            lines = self.log_path.read_bytes()[-LAST_LOG_BYTES:].decode(errors="replace").splitlines()
            telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "rror", "Bad"))]
            return " / ".join((telling or lines)[-3:])
        return "it wrote no log"

    def _adopted(self, answers: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self._runs():
                return False
            if answers():
                log.info("taking over the %s that a dead hub left in %s", self.name, self.folder)
                return True
            time.sleep(0.02)
        raise EmbeddedError(f"A {self.name} from before runs in {self.folder} but does not answer: end it, then start again.")

    def _launched(self, launch: Callable[[], Launch], answers: Callable[[], bool]) -> None:
        for attempt in (1, 2, 3):
            self._spawn(launch())
            try:
                self._wait(answers)
            except EmbeddedError:
                still_alive = self._process is not None and self._process.poll() is None
                if still_alive or attempt == 3:
                    raise
            else:
                return

    def _wait(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if self._process is not None and self._process.poll() is not None:
                raise EmbeddedError(f"The embedded {self.name} ended while starting: {self.last_words()} (log: {self.log_path})")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"The embedded {self.name} did not answer within {START_SECONDS:.0f} s (log: {self.log_path})")
            time.sleep(0.02)

    def _spawn(self, launch: Launch) -> None:
        lock = _try_lock(self.folder / "server.lock")
        if lock is None:
            raise EmbeddedError(f"A {self.name} from before still runs in {self.folder}: end it, then start again.")
        guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guards.py"))]
        who = [str(os.getpid()), str(int(self._stop_signals[0])), str(launch.account.uid), str(launch.account.gid)]
        try:
            with _open_log(self.log_path) as output:
                self._process = _born_in_its_own_thread(
                    [*guard, *who, *launch.command],
                    name=self.name,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[lock],
                    # The caller's folder may be closed to the server's account.
                    cwd="/",
                    env=dict(launch.environment),
                    # Ctrl-C in the terminal goes to the hub alone, which ends its servers last.
                    start_new_session=True,
                )
        finally:
            os.close(lock)
        (self.folder / "server.pid").write_text(str(self._process.pid))

    def _ended_by(self, number: signal.Signals) -> bool:
        deadline = time.monotonic() + STOP_SECONDS
        if self._runs():
            self._signal(number)
        while self._runs():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(PermissionError):
                self._process.send_signal(number)
            return
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "server.pid").read_text()), number)

    def _runs(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        lock = _try_lock(self.folder / "server.lock") if self.folder.exists() else None
        if lock is not None:
            os.close(lock)
        return lock is None and self.folder.exists()


def read_settings(path: Path) -> dict[str, Any]:
    """What `write_settings` kept, or an empty dict; raises EmbeddedError when the file is damaged."""
    try:
        kept = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EmbeddedError(f"{path} is damaged ({error}): restore it, or delete {path.parent} to start with an empty server.") from error
    return dict(kept)


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep passwords and ports for the next start, readable by this account only, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(settings), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def free_port(kept: int | None) -> int:
    """The kept TCP port of 127.0.0.1 if nobody listens on it, else one that is free now."""
    for port in (kept or 0, 0):
        with socket.socket() as listener, suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return int(listener.getsockname()[1])
    raise EmbeddedError("No TCP port of 127.0.0.1 is free.")


def _try_lock(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _open_log(path: Path) -> BinaryIO:
    too_long = path.exists() and path.stat().st_size > MOST_LOG_BYTES
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if too_long else os.O_APPEND)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _born_in_its_own_thread(command: list[str], *, name: str, **options: Any) -> subprocess.Popen[bytes]:
    # The kernel ends the server when the *thread* that started it ends (prctl(2)), and our caller's thread may be short-lived.
    born: Future[subprocess.Popen[bytes]] = Future()

    def live() -> None:
        try:
            process = subprocess.Popen(command, **options)
        except BaseException as error:
            born.set_exception(error)
            return
        born.set_result(process)
        process.wait()

    threading.Thread(target=live, name=f"embedded {name}", daemon=True).start()
    return born.result()
