"""The embedded Postgres: who may come in, what survives, and what is left behind (nothing)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from store.embedded import DatabaseUrls, EmbeddedPostgres
from tests.store.embedded.conftest import processes_in

POWERS = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = current_user"


@pytest.fixture(scope="module")
def postgres(shared_data_dir: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(shared_data_dir, durable=False)
    server.start()
    yield server
    server.stop()
    assert processes_in(shared_data_dir) == []


def test_three_roles_can_log_in_and_none_of_them_is_powerful(postgres: EmbeddedPostgres) -> None:
    for url in (postgres.urls.owner, postgres.urls.worker, postgres.urls.web):
        assert ask(url, POWERS) == [(False,)]
    assert ask(postgres.urls.listen, "SELECT current_user::text") == [("countersign_web",)]


def test_only_the_owner_role_owns_the_database_and_may_make_tables(postgres: EmbeddedPostgres) -> None:
    owner = ask(postgres.urls.worker, "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()")
    assert owner == [("countersign_owner",)]
    ask(postgres.urls.owner, "CREATE TABLE notes (note text)")
    for url in (postgres.urls.worker, postgres.urls.web):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(url, "CREATE TABLE mine (note text)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(url, "SELECT * FROM notes")


@pytest.mark.parametrize("door", ["socket", "network"])
def test_eve_is_refused_without_the_right_password(postgres: EmbeddedPostgres, door: str) -> None:
    right = parts(postgres.urls.web)
    if door == "network":
        right["host"] = "127.0.0.1"
    psycopg.connect(**right).close()
    for user in ("postgres", "countersign_owner", "countersign_web"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**{**right, "user": user, "password": "guess"})


def test_the_running_roles_see_no_database_but_the_hubs(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(**{**parts(postgres.urls.web), "dbname": "postgres"})


def test_a_commit_is_confirmed_when_it_is_kept_and_time_is_utc(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.urls.worker, "SHOW synchronous_commit") == [("on",)]
    assert ask(postgres.urls.worker, "SHOW timezone") == [("UTC",)]


def test_no_password_is_shown(postgres: EmbeddedPostgres) -> None:
    passwords = {str(parts(url)["password"]) for url in (postgres.urls.owner, postgres.urls.web, postgres.superuser_url)}
    command_lines = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in processes_in(postgres.folder))
    shown = repr(postgres.urls) + command_lines + (postgres.folder / "postgres.log").read_text()
    assert len(passwords) == 3
    assert not [password for password in passwords if password in shown]
    assert (postgres.folder / "settings.json").stat().st_mode & 0o777 == 0o600


def test_the_socket_folder_is_closed_to_other_accounts(postgres: EmbeddedPostgres) -> None:
    assert Path(str(parts(postgres.urls.web)["host"])).stat().st_mode & 0o777 == 0o700


def test_a_database_can_be_copied_and_dropped(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("pattern")
    ask(postgres.urls_for("pattern").owner, "CREATE TABLE kept AS SELECT 1 AS one")
    postgres.create_database("copy", template="pattern")
    postgres.create_database("copy", template="pattern")
    assert ask(postgres.urls_for("copy").owner, "SELECT one FROM kept") == [(1,)]
    postgres.drop_database("copy")
    postgres.drop_database("copy")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        ask(postgres.urls_for("copy").owner, "SELECT 1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only a hub started as root hands Postgres to nobody")
def test_a_hub_started_as_root_runs_postgres_as_nobody(postgres: EmbeddedPostgres) -> None:
    owners = set[int]()
    for pid in processes_in(postgres.folder):
        with suppress(FileNotFoundError):  # one of its helpers has ended meanwhile
            owners.add(Path(f"/proc/{pid}").stat().st_uid)
    assert owners
    assert 0 not in owners


def test_urls_are_whole(postgres: EmbeddedPostgres) -> None:
    assert isinstance(postgres.urls, DatabaseUrls)
    assert make_url(postgres.urls.worker).drivername == "postgresql+psycopg"
    assert make_url(postgres.urls.worker).database == "countersign"


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(**parts(url), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def parts(url: str) -> dict[str, Any]:
    """A URL as psycopg's own connection arguments."""
    whole = make_url(url)
    return {"user": whole.username, "password": whole.password, "dbname": whole.database, **whole.query}
