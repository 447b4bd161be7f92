"""A real Postgres and Redis for a test session, and a fresh database a test, copied from a migrated template."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store.embedded import DatabaseUrls, EmbeddedPostgres, EmbeddedRedis
from store.migrating import migrate

_TEMPLATE = "template_countersign"


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder that Postgres can reach when tests run as root; pytest's own are closed to everybody else."""
    folder = Path(tempfile.mkdtemp(prefix="countersign-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Servers:
    """The session's Postgres, and its Redis once somebody asks for it."""

    folder: Path
    postgres: EmbeddedPostgres
    _redis: EmbeddedRedis | None = None
    _made: int = 0

    @property
    def redis(self) -> EmbeddedRedis:
        if self._redis is None:
            self._redis = EmbeddedRedis(self.folder)
            self._redis.start()
        return self._redis

    def fresh_database(self, *, like: str = _TEMPLATE) -> DatabaseUrls:
        """A migrated, empty database, or a copy of the one named `like`, to which nobody may be connected."""
        if not self._made:
            self.postgres.create_database(_TEMPLATE)
            migrate(self.postgres.urls_for(_TEMPLATE).owner)
        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        self.postgres.create_database(name, template=like)
        return self.postgres.urls_for(name)

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
