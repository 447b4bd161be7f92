"""Whatever can be reached has a decision in the tables. A new route, command, button, event or door without one fails here."""

from pathlib import Path
from typing import cast
from unittest.mock import patch

import pytest
from slack_bolt.app.async_app import AsyncApp

from bot.app import Application, create_app
from bot.slack.apps import _Listeners
from bot.slack.connections import Connection
from tests.matrix import surfaces
from tests.matrix.requests import REQUESTS
from tests.matrix.tables import read_table, undecided
from tests.matrix.towns import write_commands
from tests.matrix.ways import WAYS


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Application:
    """The application as it is put together, without anything running."""
    monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", "postgresql+psycopg://web:x@127.0.0.1:1/none")
    with patch("bot.app.configure_logs"):
        made = create_app()
    assert isinstance(made, Application)
    return made


def complaint(problems: list[str]) -> str:
    return "\n".join(problems)


def test_every_route_has_a_decision(app: Application) -> None:
    rows = read_table("routes.md")
    problems = undecided(surfaces.routes_of(app), [one["route"] for one in rows], page="routes.md")
    problems += [f"{name}: say in tests/matrix/requests.py what is sent to it." for name in surfaces.routes_of(app) if name not in REQUESTS]
    assert not problems, complaint(problems)


def test_every_command_has_a_decision(tmp_path: Path) -> None:
    commands, runbooks = write_commands(tmp_path)
    found = {name: f"a {one.kind} of {one.origin}" for name, one in surfaces.commands_of(Path(commands), Path(runbooks)).items()}
    problems = undecided(found, [one["command"] for one in read_table("commands.md")], page="commands.md")
    assert not problems, complaint(problems)


def test_every_button_has_a_decision() -> None:
    stated = [one["way"].removeprefix("press ") for one in read_table("runs.md") if one["way"].startswith("press ")]
    assert not (problems := undecided(surfaces.intents(), stated, page="runs.md")), complaint(problems)


def test_every_control_about_a_run_has_a_decision(tmp_path: Path) -> None:
    """A control that takes a run's number is decided twice: whether one may ask it at all, and on which runs."""
    commands, runbooks = write_commands(tmp_path)
    known = surfaces.commands_of(Path(commands), Path(runbooks))
    about = {
        f"type {name}": "a control that takes the number of a run"
        for name, one in known.items()
        if one.kind == "control" and any(each.name == "number" for each in one.schema.parameters)
    }
    stated = {one["way"] for one in read_table("runs.md")}
    assert not (
        problems := [f"{one} has no row in tests/matrix/runs.md: who may do it, on which runs?" for one in about if one not in stated]
    ), complaint(problems)


def test_every_way_of_the_table_is_tried() -> None:
    stated = {one["way"] for one in read_table("runs.md")}
    assert stated == set(WAYS), f"only in runs.md: {sorted(stated - set(WAYS))}; only in ways.py: {sorted(set(WAYS) - stated)}"


def test_every_event_of_slack_has_a_decision() -> None:
    app = AsyncApp(signing_secret="x", token="xoxb-x")
    _Listeners(cast(Connection, None)).listen(app)
    problems = undecided(surfaces.slack_surfaces(app), [one["surface"] for one in read_table("slack.md")], page="slack.md")
    assert not problems, complaint(problems)


def test_every_command_line_has_a_decision() -> None:
    problems = undecided(
        surfaces.command_lines(), [one["command line"] for one in read_table("doors.md") if "command line" in one.cells], page="doors.md"
    )
    assert not problems, complaint(problems)


def test_every_door_has_a_decision() -> None:
    problems = undecided(surfaces.doors(), [one["door"] for one in read_table("doors.md") if "door" in one.cells], page="doors.md")
    assert not problems, complaint(problems)


def test_what_has_no_row_is_named() -> None:
    said = undecided({"GET /secrets": "show", "GET /": "page"}, ["GET /", "GET /gone"], page="routes.md")
    assert said == [
        "GET /secrets: show. Nobody has said who may use it: add a row to tests/matrix/routes.md.",
        "GET /gone stands in tests/matrix/routes.md, and there is no such thing any more: take the row out.",
    ]


def test_a_route_that_is_mounted_is_found(app: Application) -> None:
    inner = Application()
    inner.add_api_route("/deep/{one}", lambda: None, methods=["PATCH"])
    inner.add_api_websocket_route("/talk", lambda: None)
    app.mount("/other", inner)
    found = surfaces.routes_of(app)
    assert "PATCH /other/deep/{one}" in found
    assert "APIWebSocketRoute /other/talk" in found
