"""The operator's other tools: tokens, policies, the verifier, the manifest, migrations."""

import asyncio
import json
from pathlib import Path

import pytest

from bot.cli.operating import manifests, migrations, policychecks, policytests, tokens
from bot.cli.up.demos import POLICY
from store.audits import search
from store.databases import reading
from store.embedded import DatabaseUrls
from store.tokens import find_token
from store.verifications import verifier
from tests.bot.cli.lines import called
from tests.hubs import World, disposing


@pytest.fixture
def at_home(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in world.environment(role="web").items():
        monkeypatch.setenv(name, value)
    return world


def test_a_token_is_printed_once_and_recorded(at_home: World) -> None:
    ended = called(tokens.app, "lin", "--scope", "read", "--label", "laptop")
    assert ended.code == 0, ended.err
    token, event = read_back(at_home, ended.out.strip())
    assert token == ("lin", ["read"])
    assert event == {"for": "lin", "token": "api", "scopes": ["read"], "label": "laptop"}


def test_a_link_lets_a_person_in(at_home: World) -> None:
    ended = called(tokens.app, "ada", "--link")
    assert ended.out.startswith("http://127.0.0.1:8000/enter/cs_link_")


def test_a_stranger_gets_no_token(at_home: World) -> None:
    ended = called(tokens.app, "zoe")
    assert (ended.code, ended.out) == (1, "")
    assert "There is no person named zoe; there are ada, eve, kim, lin, max." in ended.err


def test_the_demo_policy_can_be_applied() -> None:
    ended = called(policychecks.app, str(POLICY))
    assert (ended.code, ended.out) == (0, f"{POLICY} can be applied.\n")


def test_a_table_of_cases_is_decided_under_the_policy_it_names(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("profile: strict\npeople: {max: {groups: [g]}}\nroles: {r: ['*:*']}\ngroups: {g: [r]}\n")
    table = tmp_path / "cases.yaml"
    table.write_text(
        "policy: policy.yaml\ncases:\n- {who: max, what: grant ada r, outcome: allowed}\n- {who: ada, what: help, outcome: allowed}\n"
    )
    ended = called(policytests.app, str(table))
    assert (ended.code, ended.out) == (0, "All 2 cases are as wanted.\n")
    table.write_text("cases:\n- {who: ada, what: grant max r, outcome: allowed}\n")
    ended = called(policytests.app, str(table))
    assert (ended.code, "names no policy" in ended.err) == (2, True)
    ended = called(policytests.app, str(table), "--policy", str(tmp_path / "policy.yaml"), "--json")
    assert ended.code == 1
    told = json.loads(ended.out)
    assert (told["ok"], told["cases"][0]["line"]) == (False, 2)
    assert "1 of 1 cases of" in ended.err
    table.write_text("cases: 7\n")
    ended = called(policytests.app, str(table), "--policy", str(tmp_path / "policy.yaml"))
    assert (ended.code, "line 1: cases" in ended.err) == (1, True)


def test_a_wrong_policy_is_told_as_json_too(tmp_path: Path) -> None:
    wrong = tmp_path / "policy.yaml"
    wrong.write_text("rules:\n- {name: r, command: deplay, deny: No.}\n")
    ended = called(policychecks.app, str(wrong), "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["ok"]) == (1, False)
    assert "deplay" in report["problems"][0]


def test_the_verifiers_command_line_has_no_password(at_home: World) -> None:
    words, environment = verifier(at_home.settings(), at_home.urls.worker)
    assert environment["PGPASSWORD"] not in " ".join(words)
    assert str(at_home.folder / "keys" / "audit.pub") in words


def test_the_manifest_names_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_PUBLIC_URL", "https://hub.example.test")
    printed = json.loads(called(manifests.app).out)
    assert {"/countersign", "/cs"} <= {one["command"] for one in printed["features"]["slash_commands"]}
    assert "https://hub.example.test/slack/events" in json.dumps(printed)
    assert json.loads(called(manifests.app, "--socket").out)["settings"]["socket_mode_enabled"] is True


def test_migrating_twice_is_harmless(database: DatabaseUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_MIGRATE_DATABASE_URL", database.owner)
    monkeypatch.setenv("COUNTERSIGN_DATA_DIR", str(tmp_path))
    for _ in range(2):
        ended = called(migrations.app)
        assert (ended.code, ended.out) == (0, "The schema is current and a policy is in force.\n")
    assert (tmp_path / "keys" / "seal.private").stat().st_mode & 0o777 == 0o600


def test_migrating_needs_to_know_what(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERSIGN_DATA_DIR", str(tmp_path))
    assert "There is no embedded Postgres" in called(migrations.app).err
    monkeypatch.setenv("COUNTERSIGN_DATABASE_URL", "postgresql://web@127.0.0.1:9/x")
    assert "COUNTERSIGN_MIGRATE_DATABASE_URL is not set" in called(migrations.app).err


def read_back(world: World, value: str) -> tuple[tuple[str, list[str]], dict[str, object]]:
    async def read() -> tuple[tuple[str, list[str]], dict[str, object]]:
        async with disposing(world.engine()) as engine, reading(engine) as session:
            token = await find_token(session, value, kind="api")
            assert token is not None
            (event,) = await search(session, kind="token:issued")
            return (token.person or "", sorted(token.scopes)), event.detail

    return asyncio.run(read())
