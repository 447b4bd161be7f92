"""A real Postgres and Redis for a test session, and a fresh database a test, copied from a migrated template."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from store.embedded import DatabaseUrls, EmbeddedPostgres, EmbeddedRedis
from store.migrating import migrate

TEMPLATE = "template_countersign"
_PREFIX = "countersign-test-"
_MEMORY = Path("/dev/shm")  # noqa: S108  the folder in it is made by mkdtemp
_HELD = "held"
_PLENTY = 4 << 30


@contextmanager
def data_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """A folder that Postgres can reach when tests run as root; pytest's own are closed to everybody else.

    With `in_memory` it is on no disk, where there is memory enough: a database is made there in a fifth of the time.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_memory() if in_memory else None))
    folder.chmod(0o711)
    with (folder / _HELD).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Where files are kept in memory; None where that is not to be had. What killed sessions left there is taken away first."""
    for one in _MEMORY.glob(f"{_PREFIX}*/{_HELD}"):
        with suppress(OSError), one.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(one.parent, ignore_errors=True)
    try:
        left = int(re.findall(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())[0]) * 1024
        enough = min(left, shutil.disk_usage(_MEMORY).free) >= _PLENTY and os.access(_MEMORY, os.W_OK)
    except (OSError, IndexError):
        return None
    return _MEMORY if enough else None


@dataclass
class Servers:
    """The session's Postgres, and its Redis once somebody asks for it."""

    folder: Path
    postgres: EmbeddedPostgres
    _redis: EmbeddedRedis | None = None
    _made: int = 0
    _lent: list[str] = field(default_factory=list)

    @property
    def redis(self) -> EmbeddedRedis:
        if self._redis is None:
            self._redis = EmbeddedRedis(self.folder)
            self._redis.start()
        return self._redis

    def fresh_database(self, *, like: str = TEMPLATE, lent: bool = True) -> DatabaseUrls:
        """A migrated, empty database, or a copy of the one named `like`, to which nobody may be connected.

        One that is not `lent` is there until somebody drops it.
        """
        if not self._made:
            self.postgres.create_database(TEMPLATE)
            migrate(self.postgres.urls_for(TEMPLATE).owner)
        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        self.postgres.create_database(name, template=like)
        if lent:
            self._lent.append(name)
        return self.postgres.urls_for(name)

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Databases that are made meanwhile are deleted afterwards."""
        kept = len(self._lent)
        try:
            yield
        finally:
            while len(self._lent) > kept:
                with suppress(psycopg.Error):
                    self.postgres.drop_database(self._lent.pop())

    def stop(self) -> None:
        if self._redis is not None:
            self._redis.stop()
        self.postgres.stop()


@contextmanager
def running_servers(folder: Path, *, durable: bool = False) -> Iterator[Servers]:
    """Servers in this folder, stopped afterwards; `durable` keeps fsync on, as a hub has it."""
    folder.mkdir(mode=0o711, exist_ok=True)
    servers = Servers(folder, EmbeddedPostgres(folder, durable=durable))
    servers.postgres.start()
    try:
        yield servers
    finally:
        servers.stop()
