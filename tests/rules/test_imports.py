"""The import law holds: the contracts of pyproject.toml, and the contract package's own short list."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.measures import ROOT

ALLOWED = {"countersign", "pydantic", "pydantic_core"} | sys.stdlib_module_names


def test_the_rooms_keep_their_contracts() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "countersign").rglob("*.py")), ids=lambda path: path.stem)
def test_the_contract_needs_only_pydantic(path: Path) -> None:
    foreign = foreign_imports(path.read_text())
    assert not foreign, f"{path.name} imports {foreign}: an author's plugin has only pydantic; move this to the room that uses it."


def test_a_foreign_import_is_found() -> None:
    assert foreign_imports("import json\nfrom pydantic import BaseModel\nfrom .runs import Run\n") == []
    assert foreign_imports("import sqlalchemy.orm\nfrom httpx import get\n") == ["httpx", "sqlalchemy"]


def foreign_imports(text: str) -> list[str]:
    """The top-level names that a module imports from outside what the contract may use."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return sorted(names - ALLOWED)
