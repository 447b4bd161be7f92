"""The docs say what the code says: generated pages are current, every link leads somewhere, every variable named is known."""

import re

import pytest

from bot.cli.apps import app
from docs.generate import MEANINGS, settings_page
from integrations.processes.declarations import ApprovalDeclaration, ArgumentDeclaration, Declaration
from store.settings import PREFIX, Settings
from tests.rules.measures import ROOT, tracked_files

# Read by the command line or by `countersign up` alone, and one that scripts of runbooks are given.
TOOLS = {"URL", "TOKEN", "WORKER_DATABASE_URL", "ARTIFACTS_DIR", "PICTURES"}
ROOMS = "tests|docs|examples|benchmarks|store|bot|commands|automations|integrations|countersign|kit"


def test_the_page_of_settings_is_current() -> None:
    page = ROOT / "docs/operators/settings.md"
    assert page.read_text(encoding="utf-8") == settings_page(), "run: python docs/generate.py"
    assert set(MEANINGS) == set(Settings.model_fields)


@pytest.mark.parametrize("page", [str(path) for path in tracked_files() if path.suffix == ".md"])
def test_every_link_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [one for one in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in one]
    missing = [one for one in targets if not (ROOT / page).parent.joinpath(one).exists()]
    assert not missing, f"{page} links to {missing}"


@pytest.mark.parametrize("page", [str(path) for path in tracked_files() if path.suffix == ".md"])
def test_every_variable_and_test_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    known = {name.upper() for name in Settings.model_fields} | TOOLS
    named = {one for one in re.findall(rf"{PREFIX}([A-Z_]+)", text) if "__" not in one and one.strip("_")}
    assert named <= known, f"{page} names {sorted(named - known)}"
    named_paths = re.findall(rf"`((?:{ROOMS})/[\w/.-]+)(?:::(\w+))?`", text)
    missing = [f"{path}::{function}" if function else path for path, function in named_paths if not _exists(page, path, function)]
    assert not missing, f"{page} names {missing}"


@pytest.mark.parametrize("page", [str(path) for path in tracked_files() if path.suffix == ".md"])
def test_every_command_line_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    known = _commands()
    for words in re.findall(r"`(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?countersign ([a-z][a-z ]*)", text):
        found = [" ".join(words.split()[:length]) for length in (1, 2)]
        assert any(one in known for one in found), f"{page} names 'countersign {words.strip()}'"


@pytest.mark.parametrize("page", [str(path) for path in tracked_files() if path.suffix == ".md"])
def test_every_make_target_and_benchmark_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets, f"{page} names a target that the Makefile has not"
    modules = [one.replace(".", "/") for one in re.findall(r"python -m (benchmarks[\w.]*)", text)]
    missing = [one for one in modules if not (ROOT / f"{one}.py").exists() and not (ROOT / one / "__main__.py").exists()]
    assert not missing, f"{page} names {missing}"


def test_the_page_of_runbooks_names_every_key() -> None:
    text = (ROOT / "docs/authors/runbooks.md").read_text(encoding="utf-8")
    keys = {key for model in (Declaration, ArgumentDeclaration, ApprovalDeclaration) for key in model.model_fields}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_a_test_that_is_not_there_is_missed() -> None:
    assert _exists("README.md", "tests/rules/test_docs.py", "test_a_test_that_is_not_there_is_missed")
    assert not _exists("README.md", "tests/rules/test_docs.py", "test_nothing_of_the_kind")
    assert not _exists("README.md", "tests/rules/test_nothing.py", "")


def _exists(page: str, path: str, function: str) -> bool:
    """Whether the file is there, seen from the checkout or from the page, and has the function if one is named."""
    found = next((one for one in (ROOT / path, (ROOT / page).parent / path) if one.exists()), None)
    return found is not None and (
        not function or re.search(rf"^(async )?def {function}\(", found.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def _commands() -> set[str]:
    names = {one.name for one in app.registered_commands if one.name}
    groups = {one.name: one.typer_instance for one in app.registered_groups if one.name and one.typer_instance}
    return names | {f"{group} {one.name}" for group, inner in groups.items() for one in inner.registered_commands}
