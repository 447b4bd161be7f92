"""Become an embedded server: give up root, ask the kernel to end us with the hub, and turn into the program.

Run by path as a script (`python -I -S guards.py PARENT_PID SIGNAL UID GID PROGRAM ARGUMENTS…`), never imported by the hub: doing
the same between fork and exec inside the hub would run Python in a copy of a process that has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Turn this process into the program; returns only by raising OSError."""
    parent, signal, uid, gid = (int(word) for word in arguments[:4])
    program = arguments[4:]
    if os.getuid() == 0 and uid != 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, because a change of credentials clears the setting (prctl(2)).
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
    if os.getppid() != parent:
        sys.exit(0)
    os.execv(program[0], program)  # noqa: S606 becoming the program, with a list and no shell, is the point


if __name__ == "__main__":
    main(sys.argv[1:])
