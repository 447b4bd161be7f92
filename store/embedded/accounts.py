"""Which account runs an embedded server, and which folders it can reach.

Postgres refuses to run as root, so a hub started as root hands it to `nobody`. No permission outside Countersign's own folders is
ever changed for that: what `nobody` cannot reach is placed elsewhere instead.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int

    @classmethod
    def ours(cls) -> "Account":
        """The account of this process."""
        return cls._of(os.geteuid(), os.getegid())

    @classmethod
    def unprivileged(cls) -> "Account":
        """The account of this process or, for root, `nobody`; raises KeyError where there is no such account."""
        if os.geteuid() != 0:
            return cls.ours()
        entry = pwd.getpwnam("nobody")
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def owning(cls, path: Path) -> "Account":
        """The account that a file or folder belongs to."""
        owner = path.stat()
        return cls._of(owner.st_uid, owner.st_gid)

    @classmethod
    def _of(cls, uid: int, gid: int) -> "Account":
        try:
            return cls(pwd.getpwuid(uid).pw_name, uid, gid)
        except KeyError:
            return cls(str(uid), uid, gid)

    @property
    def is_other(self) -> bool:
        """Whether it is not the account of this process."""
        return self.uid != os.geteuid()

    def reaches(self, path: Path) -> bool:
        """Whether this account may enter, or run, the path and enter every folder above it."""
        whole = path.resolve()
        return not self.is_other or all(self._may_execute(step) for step in (whole, *whole.parents))

    def own(self, folder: Path) -> Path:
        """Make a folder that only this account may enter; returns it. Raises OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.is_other and folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)
        return folder

    def _may_execute(self, path: Path) -> bool:
        status = path.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)
