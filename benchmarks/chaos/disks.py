"""A small disk under the hub's tables, which can be filled: a tmpfs that only root can mount."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from benchmarks.machines import libpq_url
from store.embedded import EmbeddedPostgres
from store.embedded.accounts import Account

WIDE: Final = "6g"
TRIES: Final = 8


@dataclass(frozen=True)
class Disk:
    """Where it is mounted. It takes memory for what is in it only."""

    path: Path

    def fill(self) -> None:
        """From now on it is as large as what is in it: nothing more fits.

        Postgres goes on writing meanwhile, and a disk cannot be made smaller than what is in it by then: each try leaves more room.
        """
        rooms = [64 << doubled for doubled in range(TRIES)]
        if not any(self._resize(self._used(room)) for room in rooms[:-1]):
            self._resize(self._used(rooms[-1]), check=True)

    def empty(self) -> None:
        """There is room again."""
        self._resize(WIDE, check=True)

    def _used(self, room: int) -> str:
        """The size of what is in it, and so many KiB more."""
        used = os.statvfs(self.path)
        return f"{(used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + room}k"

    def _resize(self, to: str, *, check: bool = False) -> bool:
        return not subprocess.run(["mount", "-o", f"remount,size={to}", str(self.path)], check=check, capture_output=True).returncode


@contextmanager
def small_disk(folder: Path, postgres: EmbeddedPostgres, database: str) -> Iterator[Disk | None]:
    """The database's tables and indexes are moved there, its log stays where it was. None where nobody may mount anything."""
    path = folder / "disk"
    if os.geteuid() != 0:
        yield None
        return
    path.mkdir(mode=0o711)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={WIDE}", "none", str(path)], check=False, capture_output=True)
    if mounted.returncode:
        yield None
        return
    try:
        Account.unprivileged().own(path / "tables")
        with psycopg.connect(libpq_url(postgres.superuser_url), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(path / "tables"))))
            connection.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE small").format(sql.Identifier(database)))
        yield Disk(path)
    finally:
        postgres.stop()
        subprocess.run(["umount", str(path)], check=False)
