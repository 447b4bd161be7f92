"""Whose token is shown to which hub."""

import json
from pathlib import Path

import pytest

from bot.cli.endings import Failed, WrongCall
from bot.cli.identities import Identity, hub_url, identify, keep_login

LOCAL = "http://127.0.0.1:8000"
FAR = "https://countersign.example.test"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("URL", "TOKEN", "PORT"):
        monkeypatch.delenv(f"COUNTERSIGN_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COUNTERSIGN_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_kept_login_is_for_its_hub_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep_login(FAR, "cs_api_far")
    assert path.stat().st_mode & 0o777 == 0o600
    assert identify() == Identity(FAR, "cs_api_far")
    monkeypatch.setenv("COUNTERSIGN_URL", "https://other.example.test")
    with pytest.raises(Failed, match=r"no token for https://other\.example\.test"):
        identify()


def test_a_second_login_keeps_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_login(FAR, "cs_api_far")
    keep_login(LOCAL, "cs_api_near")
    assert identify().token == "cs_api_near"
    monkeypatch.setenv("COUNTERSIGN_URL", FAR + "/")
    assert identify().token == "cs_api_far"


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_login(FAR, "cs_api_far")
    monkeypatch.setenv("COUNTERSIGN_PORT", "8123")
    monkeypatch.setenv("COUNTERSIGN_TOKEN", "cs_api_mine")
    assert identify() == Identity("http://127.0.0.1:8123", "cs_api_mine")


def test_a_damaged_login_is_named(home: Path) -> None:
    keep_login(FAR, "cs_api_far").write_text("{")
    with pytest.raises(Failed, match=r"login\.json cannot be read"):
        hub_url()


def test_the_cast_acts_only_in_the_demo_and_only_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Failed, match="start one with countersign up --demo"):
        identify("ada")
    (home / "demo").mkdir()
    (home / "demo" / "tokens.json").write_text(json.dumps({"ada": "cs_api_ada", "lin": "cs_api_lin"}))
    assert identify("lin").token == "cs_api_lin"
    with pytest.raises(WrongCall, match="the demo's people are ada, lin"):
        identify("zoe")
    with pytest.raises(Failed, match=r"say who you are with --as \(ada, lin\)"):
        identify()
    monkeypatch.setenv("COUNTERSIGN_URL", FAR)
    with pytest.raises(WrongCall, match="only with a demo on this machine"):
        identify("ada")


def test_a_token_does_not_show_itself() -> None:
    assert "secret" not in repr(Identity(FAR, "cs_api_secret"))
