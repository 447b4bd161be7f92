"""The Postgres that a hub starts for itself: password authentication everywhere, three roles, nobody a superuser."""

import logging
import os
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import URL

from store.embedded.homes import Home, home_for
from store.embedded.servers import EmbeddedError, EmbeddedServer, Launch, free_port, read_settings, write_settings

SUPERUSER = "postgres"
OWNER, WORKER, WEB = ROLES = ("countersign_owner", "countersign_worker", "countersign_web")
DATABASE = "countersign"
# A test session opens thousands of connections to hundreds of databases: stretching the password took 1.8 of each connection's 5.6 ms,
# and every minute each database had a worker that looked for what to vacuum. The passwords are random and as long as a key. What is
# logged ahead may be kept in memory. Deleting a database looks through all of the buffers.
_FOR_TESTS = {"scram_iterations": "1", "autovacuum_naptime": "10min", "max_wal_size": "512MB", "shared_buffers": "32MB"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """How each part of the hub reaches one database, as `postgresql+psycopg://…` with the password in it; never printed."""

    owner: str = field(repr=False)
    worker: str = field(repr=False)
    web: str = field(repr=False)
    listen: str = field(repr=False)
    """A session connection for LISTEN, as the web process; the same as `web`, because no pooler stands before this Postgres."""


class EmbeddedPostgres:
    """A Postgres under `data_dir`/postgres that lives as long as this process.

    `durable=False` gives up safety against a power cut for speed, for tests. `last_resort` is where data goes when the hub was started
    as root and `nobody`, who then runs Postgres, cannot reach `data_dir`.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, last_resort: Path = Path("/var/lib")) -> None:
        self.folder = data_dir.absolute() / "postgres"
        self._durable = durable
        self._last_resort = last_resort
        self._settings_path = self.folder / "settings.json"
        self._server = EmbeddedServer("postgres", self.folder, stop_signals=(signal.SIGINT, signal.SIGQUIT))

    @property
    def urls(self) -> DatabaseUrls:
        """The URLs of the hub's own database; raises EmbeddedError before the first start."""
        return self.urls_for(DATABASE)

    @property
    def superuser_url(self) -> str:
        """For tests and for whoever repairs the machine; no role of a running hub."""
        return self._url(SUPERUSER, SUPERUSER)

    def start(self) -> None:
        """Start Postgres, or join the one that another hub runs here; return when the roles and the database are there.

        Blocks for about two seconds the first time and less later. Raises EmbeddedError.
        """
        try:
            self.folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._server.start(launch=self._launch, answers=self._answers)
            if self._server.mine:
                self._furnish()
        except (OSError, psycopg.Error) as error:
            self.stop()
            raise EmbeddedError(f"The embedded Postgres cannot use {self.folder}: {error}") from error

    def stop(self) -> None:
        """Shut down, ending open connections; return when no process is left. One that another hub started is left alone."""
        mine = self._server.mine
        self._server.stop()
        if mine:
            self._forget_socket()

    def crash(self) -> None:
        """Stop at once, without a checkpoint, as `pg_ctl stop -m immediate` does; `start()` recovers it from its log."""
        self._server.kill(signal.SIGQUIT)

    def urls_for(self, database: str) -> DatabaseUrls:
        """The URLs of any database made by `create_database`."""
        return DatabaseUrls(
            owner=self._url(OWNER, database),
            worker=self._url(WORKER, database),
            web=self._url(WEB, database),
            listen=self._url(WEB, database),
        )

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Make a database that the owner role owns and the other two may connect to; one that exists is left as it is."""
        with self._connect(SUPERUSER) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                # Copying files takes two checkpoints, which cost next to nothing without fsync; copying page by page costs twice as much.
                strategy = "wal_log" if self._durable else "file_copy"
                _run(connection, "CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY {}", name, OWNER, template, strategy)
            _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
            _run(connection, "GRANT CONNECT ON DATABASE {} TO {}, {}, {}", name, *ROLES)

    def drop_database(self, name: str) -> None:
        """Delete a database and end its connections; harmless when there is none."""
        with self._connect(SUPERUSER) as connection:
            _run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _launch(self) -> Launch:
        kept = read_settings(self._settings_path)
        home = home_for(self.folder, recorded=kept.get("place"), last_resort=self._last_resort)
        if home.data.exists() and "passwords" not in kept:
            raise EmbeddedError(
                f"{self._settings_path} is missing but {home.data} is not: restore it, or delete {self.folder} to start empty."
            )
        kept.setdefault("passwords", {role: secrets.token_urlsafe(24) for role in (SUPERUSER, *ROLES)})
        kept["place"] = None if home.folder == self.folder else str(home.folder)
        kept["port"] = free_port(kept.get("port"))
        self._forget_socket()
        kept["socket"] = str(home.socket_folder())
        write_settings(self._settings_path, kept)
        _make_cluster(home, password=kept["passwords"][SUPERUSER], durable=self._durable)
        _clear_stale_pid(home.data)
        return Launch(self._command(home, kept), home.account, _environment())

    def _command(self, home: Home, kept: dict[str, Any]) -> list[str]:
        durable = "on" if self._durable else "off"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": kept["port"],
            "unix_socket_directories": '"' + kept["socket"].replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "fsync": durable,
            "full_page_writes": durable,
            "synchronous_commit": "on",
            "timezone": "UTC",
            "cluster_name": "countersign",
            "max_connections": "200",  # two busy hosts want more than the usual hundred
            # Ours give up after 2 s; one left half open held up DROP DATABASE, which waits for all, for a minute.
            "authentication_timeout": "5s",
        }
        if not self._durable:
            settings |= _FOR_TESTS
        return [
            str(home.programs() / "postgres"),
            "-D",
            str(home.data),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    def _answers(self) -> bool:
        try:
            # Whoever joins waits for the roles as well, which only the hub that starts Postgres makes.
            with self._connect(SUPERUSER) if self._server.mine else self._connect(DATABASE, role=WORKER):
                return True
        except psycopg.OperationalError as error:
            if self._server.mine and "password authentication failed" in str(error):
                raise EmbeddedError(f"The passwords in {self._settings_path} are not those of the Postgres in {self.folder}.") from error
            return False
        except EmbeddedError:
            return False

    def _furnish(self) -> None:
        passwords = read_settings(self._settings_path)["passwords"]
        with self._connect(SUPERUSER) as connection:
            present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role in sorted(set(ROLES) - present):
                # The server, and so its log, sees only the verifier.
                verifier = connection.pgconn.encrypt_password(passwords[role].encode(), role.encode(), b"scram-sha-256").decode()
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
            _run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", SUPERUSER)
        self.create_database(DATABASE)

    def _forget_socket(self) -> None:
        with suppress(EmbeddedError):
            socket = read_settings(self._settings_path).get("socket")
            if socket and Path(socket).name.startswith("countersign-"):
                shutil.rmtree(socket, ignore_errors=True)

    def _url(self, role: str, database: str) -> str:
        kept = self._kept()
        where = {"host": kept["socket"], "port": str(kept["port"])}
        url = URL.create("postgresql+psycopg", role, kept["passwords"][role], database=database, query=where)
        return url.render_as_string(hide_password=False)

    def _connect(self, database: str, *, role: str = SUPERUSER) -> psycopg.Connection[tuple[Any, ...]]:
        kept = self._kept()
        return psycopg.connect(
            host=kept["socket"],
            port=kept["port"],
            user=role,
            password=kept["passwords"][role],
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def _kept(self) -> dict[str, Any]:
        kept = read_settings(self._settings_path)
        if "socket" not in kept:
            raise EmbeddedError(f"There is no embedded Postgres in {self.folder} yet: countersign up starts one.")
        return kept


def _make_cluster(home: Home, *, password: str, durable: bool) -> None:
    """Make the data directory whole or not at all; an interrupted attempt is thrown away by the next."""
    if home.data.exists():
        return
    draft = home.folder / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    home.account.own(draft)
    password_file = draft.with_suffix(".password")
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
        if home.account.is_other:
            os.fchown(file.fileno(), home.account.uid, home.account.gid)
    command = [str(home.programs() / "initdb"), "--pgdata", str(draft), "--username", SUPERUSER, "--pwfile", str(password_file)]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    command += [] if durable else ["--no-sync"]
    other = home.account if home.account.is_other else None
    try:
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=[] if other else None,
            cwd="/",
            env=_environment(),
        )
    finally:
        password_file.unlink()
    if made.returncode:
        raise EmbeddedError(f"The embedded Postgres could not be set up in {home.folder}: {(made.stderr or made.stdout).strip()[-500:]}")
    draft.rename(home.data)


def _clear_stale_pid(data: Path) -> None:
    # We hold the lock that every process of our server would hold. After a restart of a container the old process id may belong to
    # anybody, which would make Postgres refuse to start; only a server started here by hand still counts.
    marker = data / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(marker.read_text().splitlines()[0])
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").resolve() == data.resolve():
                raise EmbeddedError(f"A Postgres started by hand (process {pid}) uses {data}: stop it first.")
        if Path("/proc/self").exists():
            marker.unlink()


def _environment() -> dict[str, str]:
    # Nothing of ours: a PGPORT or PGOPTIONS of the caller would change the server.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _run(connection: psycopg.Connection[tuple[Any, ...]], template: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(template).format(*map(sql.Identifier, names)))
