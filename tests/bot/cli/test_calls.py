"""How the command line answers: quickly, in one sentence, and with an exit code that says whose mistake it was."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bot.cli.apps import app
from bot.cli.operating import manifests, policychecks, tokens
from bot.cli.roles import ROLES
from bot.cli.up.__main__ import app as up
from tests.bot.cli.lines import called, countersign

PROMISED = (
    "up",
    "web",
    "worker",
    "migrate",
    "doctor",
    "login",
    "chat",
    "run",
    "runs",
    "logs",
    "artifacts",
    "inbox",
    "schedules",
    "promises",
    "approve",
    "deny",
    "cancel",
    "policy",
)
CONCERNED = ("edit", "withdraw", "takeback", "handover", "comment", "ask", "answer")


def test_the_list_of_commands_is_complete(tmp_path: Path) -> None:
    said = countersign("--help", home=tmp_path).out
    listed = [line.split()[0] for line in said.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == [*PROMISED[:-1], *CONCERNED, "evidence", PROMISED[-1], "audit", "slack", "token", "directory", "passkey", "new"]


@pytest.mark.parametrize("name", sorted(set(ROLES) - {"worker"}))
def test_every_role_explains_itself(name: str) -> None:
    role = importlib.import_module(f"{ROLES[name][0]}.__main__" if name == "up" else ROLES[name][0])
    ended = called(role.app, "--help", name=f"countersign {name}")
    assert ended.code == 0, ended.err
    assert f"Usage: countersign {name} " in ended.out


def test_asking_something_of_a_hub_loads_no_part_of_the_hub(tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text("import json, sys\nimport bot.cli\nprint(json.dumps(sorted(sys.modules)))\n")
    loaded = json.loads(run_script(script))
    assert "bot.cli.rooms" in loaded
    assert not {"sqlalchemy", "pydantic", "countersign", "store", "commands", "fastapi", "redis"} & set(loaded)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["deplay"], 2, "No such command 'deplay'"),
        (["run"], 2, "COMMAND"),
        (["run", "help", "--wait", "soon"], 2, "--wait"),
        (["approve", "one/two"], 2, "'one/two' is no run: give its number"),
        (["new", "command", "Rm -rf"], 2, "is no command's name"),
        (["policy", "apply", "missing.yaml"], 2, "missing.yaml cannot be read: no such file or directory."),
        (["runs"], 1, "No hub answers at http://127.0.0.1:9; countersign up starts one"),
    ],
)
def test_a_wrong_call_is_told_in_one_sentence(words: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COUNTERSIGN_TOKEN", "cs_api_x")
    ended = called(app, *words)
    assert told in ended.err
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)


@pytest.mark.parametrize(
    ("role", "words", "told"),
    [
        (up, ["--port", "seven"], "--port"),
        (up, ["--port", "70000"], "--port"),
        (up, ["--demo"], "COUNTERSIGN_HOST: demo people have no passwords"),
        (policychecks.app, ["missing.yaml"], "missing.yaml cannot be read"),
        (tokens.app, ["ada", "--scope", "all"], "--scope all should be one of read, submit, decide, admin."),
        (manifests.app, [], "COUNTERSIGN_PUBLIC_URL should be the https address"),
    ],
)
def test_a_role_that_is_called_wrongly_does_not_start(
    role: typer.Typer, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_HOST", "192.0.2.1")
    ended = called(role, *words)
    assert told in ended.err
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"COUNTERSIGN_URL": "http://hub.example.test"}, "would send your token in clear; use https"),
        ({"COUNTERSIGN_URL": "hub"}, "is not an address such as https://"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(settings: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    ended = called(app, "runs")
    assert (ended.code, told in ended.err) == (2, True)


def test_a_demo_refuses_a_real_slack_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("COUNTERSIGN_SLACK_SIGNING_SECRET", "0" * 32)
    ended = called(up, "--demo")
    assert (ended.code, "unset it or run without --demo" in ended.err) == (2, True)


def test_without_a_token_it_says_how_to_get_one(tmp_path: Path) -> None:
    ended = countersign("runs", home=tmp_path)
    assert (ended.code, "log in with: countersign login" in ended.err) == (1, True)


def run_script(script: Path) -> str:
    return subprocess.run([sys.executable, "-P", str(script)], capture_output=True, text=True, check=True, timeout=120).stdout
