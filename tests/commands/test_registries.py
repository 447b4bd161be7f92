"""Where commands come from, what cannot stand together, and the last good set that stays."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from commands import registries
from commands.registries import MOST_SLASH_NAMES, Registry, RegistryError, Reloader, load_registry
from tests.commands.samples import COMMANDS
from tests.forks import ROOT

ONE = '''
from countersign import Context, Plan, Reply, command

@command("{name}", permission="{name}:run", risk="low"{more})
async def one(ctx: Context) -> Reply:
    """{help}"""
    return Reply(text="{help}")
'''


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """What a test loads from a folder is forgotten after it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("countersign_folder_"):
            del sys.modules[name]


def write(folder: Path, file: str, *, name: str = "", help: str = "Do it.", more: str = "") -> Path:  # noqa: A002
    path = folder / f"{file}.py"
    path.write_text(ONE.format(name=name or file, help=help, more=more))
    return path


def touched_later(path: Path, seconds: int) -> None:
    os.utime(path, (1_800_000_000 + seconds, 1_800_000_000 + seconds))


def test_entry_points_bring_the_shipped_commands_the_example_and_no_runbooks_without_a_folder() -> None:
    found = load_registry(folder=None, runbooks=None)
    shipped = {"help", "whoami", "runs", "run", "approve", "deny", "cancel", "audit", "grant", "revoke", "link"}
    assert shipped | {"policy explain", "policy apply", "deploy", "deploys"} <= set(found.commands)
    assert {one.code_version for one in found.commands.values()} == set(found.versions)
    assert all(len(one) == 64 for one in found.versions)
    assert found.commands["deploy"].code_version != found.commands["help"].code_version
    assert found.slash_names == ("deploy", "deploys", "rollout")


def test_a_folder_brings_more_each_versioned_by_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, "first")
    write(tmp_path, "second")
    before = load_registry(folder=tmp_path, runbooks=None).commands
    write(tmp_path, "second", help="Do it better.")
    after = load_registry(folder=tmp_path, runbooks=None).commands
    assert before["first"].code_version == after["first"].code_version
    assert before["second"].code_version != after["second"].code_version
    assert after["second"].summary == "Do it better."


def test_two_commands_of_one_name_are_named_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, "mine", name="deploy")
    with pytest.raises(RegistryError) as told:
        load_registry(folder=tmp_path, runbooks=None)
    assert str(told.value) == (
        "command 'deploy' is defined twice, in countersign_deploys.commands and countersign_folder_mine; rename one of them"
    )


def test_slack_has_room_for_so_many_slash_names(tmp_path: Path) -> None:
    for number in range(MOST_SLASH_NAMES - 2):
        write(tmp_path, f"c{number}", more=", slash=True")
    with pytest.raises(RegistryError, match=f"^{MOST_SLASH_NAMES + 1} commands say slash=True; Slack leaves room for {MOST_SLASH_NAMES}$"):
        load_registry(folder=tmp_path, runbooks=None)
    (tmp_path / "c0.py").unlink()
    assert len(load_registry(folder=tmp_path, runbooks=None).slash_names) == MOST_SLASH_NAMES


def test_an_entry_point_that_names_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = EntryPoint("wrong", "countersign.permissions:Risk.high", registries.GROUP)
    monkeypatch.setattr(registries, "installed", lambda: (wrong,))
    with pytest.raises(RegistryError, match="'wrong' should name a module with commands or a loader, not Risk"):
        load_registry(folder=None, runbooks=None)


def test_near_names_are_offered_the_nearest_first() -> None:
    registry = Registry(COMMANDS)
    assert registry.nearest("deplyo", among=COMMANDS)[0] == "deploy"
    assert registry.nearest("xyzzy", among=COMMANDS) == []
    assert registry.find("deploy") is COMMANDS["deploy"]
    assert registry.find("nope") is None


def test_a_saved_file_is_live_at_the_next_look_and_a_broken_one_keeps_the_last_good_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched_later(write(tmp_path, "first"), 0)
    reloader = Reloader(load_registry(folder=tmp_path, runbooks=None), folder=tmp_path, runbooks=None)
    assert not reloader.refresh()
    touched_later(write(tmp_path, "first", help="Newer."), 1)
    assert reloader.refresh()
    assert reloader.registry.commands["first"].summary == "Newer."
    good = reloader.registry
    (tmp_path / "first.py").write_text("import nothing_of_that_name")
    touched_later(tmp_path / "first.py", 2)
    with caplog.at_level(logging.WARNING):
        assert not reloader.refresh()
        assert not reloader.refresh()
    assert reloader.registry is good
    assert [one.getMessage() for one in caplog.records] == [
        "commands were not reloaded: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    ]
    touched_later(write(tmp_path, "first", help="Mended."), 3)
    assert reloader.refresh()
    assert reloader.registry.commands["first"].summary == "Mended."
    (tmp_path / "first.py").unlink()
    assert reloader.refresh()
    assert reloader.registry.find("first") is None


def test_a_file_that_ends_the_process_while_it_is_loaded_does_not(tmp_path: Path) -> None:
    reloader = Reloader(load_registry(folder=tmp_path, runbooks=None), folder=tmp_path, runbooks=None)
    (tmp_path / "first.py").write_text("raise SystemExit(1)")
    assert not reloader.refresh()
    assert reloader.registry.find("help") is not None


def test_a_set_keeps_its_own_steps_whatever_is_loaded_later(tmp_path: Path) -> None:
    source = '''
from countersign import Context, Plan, command, step

@step()
async def turn(ctx: Context) -> int:
    """Turn."""
    return {number}

@command("turn", permission="a:turn")
async def one(ctx: Context) -> Plan:
    """Turn."""
    return Plan("turned", turn())
'''
    path = tmp_path / "turning.py"
    path.write_text(source.format(number=1))
    touched_later(path, 0)
    reloader = Reloader(load_registry(folder=tmp_path, runbooks=None), folder=tmp_path, runbooks=None)
    first = reloader.registry
    path.write_text(source.format(number=2) + "\nraise ValueError")
    touched_later(path, 1)
    assert not reloader.refresh()
    name = "countersign_folder_turning.turn"
    assert reloader.registry.steps[name] is first.steps[name]
    path.write_text(source.format(number=2))
    touched_later(path, 2)
    assert reloader.refresh()
    assert reloader.registry.steps[name] is not first.steps[name]


def test_only_the_hubs_own_commands_are_imported_before_processes_are_forked() -> None:
    body = (
        "import sys; from commands.registries import load_own; load_own();"
        " print(*sorted(name for name in ('commands.shipped', 'countersign_deploys') if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["commands.shipped"]
