"""The house measures hold, and each rule catches what it is for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rules import measures
from tests.rules.measures import ROOT, measured_files, tracked_files

Rule = Callable[[Path, str], list[str]]

HERE = Path("commands/submissions.py")


@pytest.mark.parametrize(
    "rule",
    [
        measures.too_long_files,
        measures.too_long_functions,
        measures.imports_in_functions,
        measures.commits_outside_the_edge,
    ],
)
def test_the_python_files_keep_the_measures(rule: Rule) -> None:
    complaints = [complaint for path in measured_files() for complaint in rule(path, (ROOT / path).read_text())]
    assert not complaints, "\n" + "\n".join(complaints)


def test_no_file_names_a_registry_or_a_machine() -> None:
    complaints = []
    for path in tracked_files():
        text = (ROOT / path).read_bytes().decode(errors="ignore")
        complaints += measures.addresses_and_machine_paths(path, text)
    assert not complaints, "\n" + "\n".join(complaints)


def test_the_measures_see_the_whole_house() -> None:
    rooms = {path.parts[0] for path in measured_files()}
    assert {"automations", "bot", "commands", "countersign", "integrations", "kit", "store"} <= rooms
    assert not rooms & {"tests", ".venv"}


def test_a_file_of_401_lines_is_too_long() -> None:
    assert measures.too_long_files(HERE, "x = 1\n" * 400) == []
    assert "split it" in only(measures.too_long_files(HERE, "x = 1\n" * 401))


@pytest.mark.parametrize("word", ["def", "async def"])
def test_a_function_of_61_lines_is_too_long(word: str) -> None:
    assert measures.too_long_functions(HERE, f"{word} submit():\n" + "    x = 1\n" * 59) == []
    assert "submit() has 61 lines" in only(measures.too_long_functions(HERE, f"{word} submit():\n" + "    x = 1\n" * 60))
    assert "has 61 lines" in only(measures.too_long_functions(HERE, f"class Door:\n    {word} submit(self):\n" + "        x = 1\n" * 60))


def test_an_import_inside_a_function_is_found() -> None:
    assert measures.imports_in_functions(HERE, "import json\nif True:\n    import yaml\n") == []
    assert "at the top" in only(measures.imports_in_functions(HERE, "async def submit():\n    from json import loads\n"))


def test_a_commit_outside_the_edge_is_found() -> None:
    text = "async def submit(session):\n    await session.commit()\n"
    assert "let the edge" in only(measures.commits_outside_the_edge(HERE, text))
    for edge in ("bot/api/runs.py", "automations/executions.py", "store/databases.py"):
        assert measures.commits_outside_the_edge(Path(edge), text) == []
    assert measures.commits_outside_the_edge(HERE, "commit = 1  # session.commit()\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-" + "url htt" + "ps://example.test/simple",
        "--extra-index-" + "url htt" + "ps://example.test",
        "--find-" + "links wheels",
        "https://files.python" + "hosted.org/packages/x.whl",
        "https://py" + "pi.org/simple",
        "/ho" + "me/ada/countersign",
        "open('/Us" + "ers/ada/notes')",
        "/ro" + "ot/.cache",
        "cd /wo" + "rk/main",
    ],
)
def test_an_address_or_a_machine_path_is_found(line: str) -> None:
    assert "names a" in only(measures.addresses_and_machine_paths(Path("docs/notes.md"), f"fine\n{line}\n"))


@pytest.mark.parametrize(
    "line", ["https://docs.example.test/ho" + "me/ada", "./wo" + "rk/main.py", "GET /api/v1/runs", "~/.countersign", "/etc/passwd"]
)
def test_ordinary_text_is_not_an_address(line: str) -> None:
    assert measures.addresses_and_machine_paths(Path("docs/notes.md"), line) == []


def only(complaints: list[str]) -> str:
    assert len(complaints) == 1
    return complaints[0]
