"""The house measures as functions: each takes one file and returns its complaints, which say the right way to do it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
# Where transactions are opened and so committed (design: "transactions are opened at the edge").
COMMITTERS = ("bot/", "automations/", "store/databases.py")
# Written with a class of one letter each, so that this file does not break its own rule.
ADDRESS = re.compile(r"py[p]i\.org|pythonho[s]ted\.org|registry\.np[m]js|--(?:extra-)?index-ur[l]|--find-link[s]|crates\.i[o]/")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:ho[m]e|Us[e]rs)/\w+|(?<![\w.])/ro[o]t/\w*|(?<![\w.])/wo[r]k/(?:main|shared)|[A-Z]:\\Us[e]rs\\")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tracked_files() -> list[Path]:
    """Every file of the repository by its path from the root; without git (an exported copy) every file that is not hidden."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        paths = [Path(name) for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        everything = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
        paths = [path for path in everything if not any(part.startswith(".") for part in path.parts)]
    return [path for path in paths if (ROOT / path).is_file()]


def measured_files() -> list[Path]:
    """The Python files that the measures hold for: the tests and the migrations tell long stories."""
    free = ("tests/", "store/migrations/")
    return [path for path in tracked_files() if path.suffix == ".py" and not str(path).startswith(free)]


def too_long_files(path: Path, text: str) -> list[str]:
    lines = len(text.splitlines())
    if lines <= LONGEST_FILE:
        return []
    return [f"{path} has {lines} lines, more than {LONGEST_FILE}: split it by what its parts are about, and name the parts for that."]


def too_long_functions(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{function.lineno} {function.name}() has {lines} lines, more than {LONGEST_FUNCTION}: "
        "give each paragraph of it a name, as a function below it."
        for function in _functions(text)
        if (lines := (function.end_lineno or function.lineno) - function.lineno + 1) > LONGEST_FUNCTION
    ]


def imports_in_functions(path: Path, text: str) -> list[str]:
    return [
        f"{path}:{node.lineno} imports inside {function.name}(): import at the top of the file; "
        "if that makes a circle, move what both need into a third module."
        for function in _functions(text)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def commits_outside_the_edge(path: Path, text: str) -> list[str]:
    if str(path).startswith(COMMITTERS):
        return []
    return [
        f"{path}:{node.lineno} commits: take the session from your caller and let the edge (bot/ or automations/) commit once."
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    ]


def addresses_and_machine_paths(path: Path, text: str) -> list[str]:
    ways = {
        ADDRESS: "names a package registry: leave the address to the reader's own pip settings.",
        MACHINE_PATH: "names a folder of one machine: say it relative to the repository, to DATA_DIR or to the home folder (~).",
    }
    return [
        f"{path}:{number} ({found.group()}) {way}"
        for pattern, way in ways.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := pattern.search(line))
    ]


def _functions(text: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))
