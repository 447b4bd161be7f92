"""Each process of a hub is told only what it needs."""

from pathlib import Path

import pytest

from bot.cli.up.databases import Servers
from bot.cli.up.environments import web_environment, worker_environment
from store.settings import Settings

SERVERS = Servers(owner="pg://owner", worker="pg://worker", web="pg://web", listen="pg://listen", redis="redis://r")
SITE = {"COUNTERSIGN_FLEET__ROOT": "site", "COUNTERSIGN_RUNBOOKS": "books"}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "MIGRATE_DATABASE_URL": "pg://owner",
        "SECRET_KEY": "key",
        "TOKEN": "cs_api_mine",
        "SLACK_SIGNING_SECRET": "0" * 32,
        "SLACK_BOT_TOKEN": "xoxb-1",
        "PAGER__TOKEN": "credential",
        "COMMANDS": "commands",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not ours")
    monkeypatch.setenv("PYTHONPATH", "somewhere")


def settings() -> Settings:
    return Settings.read(data_dir=Path("data"), port=8123)


def test_the_web_process_holds_no_credentials_of_other_systems() -> None:
    told = web_environment(settings(), SERVERS, SITE, reload=True)
    ours = {name.removeprefix("COUNTERSIGN_"): value for name, value in told.items() if name.startswith("COUNTERSIGN_")}
    assert (ours["DATABASE_URL"], ours["LISTEN_DATABASE_URL"], ours["RELOAD"]) == ("pg://web", "pg://listen", "1")
    assert (ours["SLACK_SIGNING_SECRET"], ours["RUNBOOKS"], ours["COMMANDS"]) == ("0" * 32, "books", "commands")
    assert not {"REDIS_URL", "PAGER__TOKEN", "FLEET__ROOT", "MIGRATE_DATABASE_URL", "TOKEN", "DEMO"} & set(ours)


def test_the_workers_hold_no_key_of_the_web_and_no_owner() -> None:
    told = worker_environment(settings(), SERVERS, SITE)
    ours = {name.removeprefix("COUNTERSIGN_"): value for name, value in told.items() if name.startswith("COUNTERSIGN_")}
    assert (ours["DATABASE_URL"], ours["LISTEN_DATABASE_URL"], ours["REDIS_URL"]) == ("pg://worker", "pg://worker", "redis://r")
    assert (ours["PAGER__TOKEN"], ours["FLEET__ROOT"], ours["RUNBOOKS"]) == ("credential", "site", "books")
    assert not {"MIGRATE_DATABASE_URL", "SECRET_KEY", "TOKEN", "RELOAD"} & set(ours)


def test_nothing_of_anybody_else_is_passed_on() -> None:
    for told in (web_environment(settings(), SERVERS, {}, reload=False), worker_environment(settings(), SERVERS, {})):
        assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(told)
        assert told["PYTHONSAFEPATH"] == "1"
        assert "pg://owner" not in told.values()


def test_servers_do_not_show_their_passwords() -> None:
    assert "pg://" not in repr(SERVERS)
