"""The process between a worker and a script. Whatever becomes of either, it leaves nothing of the script running.

Started as `python -I -S guards.py LEASH COUNT NAME=VALUE… ARGV…`, with COUNT variables: the script's whole environment. LEASH is the
reading end of a pipe that the worker holds open: when it closes, because the worker let go or died in any way, everything the script
started gets SIGTERM and 5 s later SIGKILL, and the working folder, which is the script's own copy, is deleted. Ends with the script's
exit code, or 128 + n when a signal n ended it. Imports are few because every script waits for them.
"""

import contextlib
import ctypes
import errno
import os
import select
import signal
import sys
import time

GRACE_SECONDS = 5.0
NOT_STARTED = 126
_PR_SET_CHILD_SUBREAPER = 36
_TICK_SECONDS = 0.02


def main(leash: int, environment: dict[str, str], argv: list[str]) -> int:
    """Runs the script and returns the exit code to end with."""
    _adopt_orphans()
    os.set_inheritable(leash, False)
    awake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    os.set_blocking(awake, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    script = _started(environment, argv)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = _until_done(script, leash, awake)
    _end_all(script)
    if code is None:
        # The worker may be dead; its copy of the scripts should not outlive it.
        _delete(os.getcwd())  # noqa: PTH109
        return 128 + signal.SIGTERM
    return code


def _until_done(script: int, leash: int, awake: int) -> int | None:
    """The script's exit code, or None when the leash was let go or this process was asked to end first."""
    while True:
        code = _reaped(script)
        if code is not None:
            return code
        ready, _, _ = select.select([leash, awake], [], [])
        if leash in ready:
            return None
        if signal.SIGTERM in os.read(awake, 512):
            return None


def _end_all(script: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        told: set[int] = set()
        while living := _living(script):
            # SIGTERM once each, so that a handler that tidies up is not interrupted by a second one; SIGKILL until nobody is left.
            for one in living if number == signal.SIGKILL else [one for one in living if one not in told]:
                _kill(one, number)
                _kill(one, signal.SIGCONT)  # a stopped process would hear of it only then
            told.update(living)
            if time.monotonic() > deadline:
                break
            time.sleep(_TICK_SECONDS)
            _reaped(script)


def _started(environment: dict[str, str], argv: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        os.umask(0o077)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _become(environment, argv)
    except (OSError, ValueError) as error:
        os.write(2, f"{argv[0]} cannot be started: {getattr(error, 'strerror', None) or error}\n".encode(errors="replace"))
    finally:
        os._exit(NOT_STARTED)


def _become(environment: dict[str, str], argv: list[str]) -> None:
    # A program that was just written is "busy" while some other process being started still holds a copy of its descriptor.
    for _ in range(100):
        try:
            os.execve(argv[0], argv, environment)  # noqa: S606  no shell is the point
        except OSError as error:
            if error.errno != errno.ETXTBSY:
                raise
            time.sleep(_TICK_SECONDS)
    raise OSError(errno.ETXTBSY, os.strerror(errno.ETXTBSY))


def _reaped(script: int) -> int | None:
    """Collects every child that ended; the script's exit code if it was among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == script:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _living(script: int) -> list[int]:
    """Whom to signal: every descendant where the system tells them, daemons included; otherwise the script's process group."""
    if os.path.isdir("/proc/self"):  # noqa: PTH112  pathlib would double the time to start
        return _descendants(os.getpid())
    try:
        os.killpg(script, 0)
    except OSError:
        return []
    return [-script]


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdecimal() and (parent := _parent(name)):
            children.setdefault(parent, []).append(int(name))
    found, reached = [], [root]
    while reached:
        below = children.get(reached.pop(), [])
        found += below
        reached += below
    return found


def _parent(pid: str) -> int:
    """0 for a process that is gone or only waits to be collected."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            state, parent = stat.read().rpartition(b")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state in (b"Z", b"X") else int(parent)


def _kill(pid: int, number: int) -> None:
    # An error means that it ended by itself, or belongs to another user now and cannot be ended from here.
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _delete(folder: str) -> None:
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files + folders:
            whole = os.path.join(path, name)  # noqa: PTH118
            with contextlib.suppress(OSError):
                os.unlink(whole) if name in files or os.path.islink(whole) else os.rmdir(whole)  # noqa: PTH106, PTH108, PTH114
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106


def _adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent ended (prctl(2), Linux 3.4), so that a daemon cannot slip away."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    _, given, count, *words = sys.argv
    sys.exit(main(int(given), dict(word.split("=", 1) for word in words[: int(count)]), words[int(count) :]))
