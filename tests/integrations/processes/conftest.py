"""A fresh folder of runbooks and a worker for every test."""

from pathlib import Path

import pytest

from tests.integrations.processes.folders import Folder, Worker


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "runbooks"
    path.mkdir()
    return Folder(path)


@pytest.fixture
def worker() -> Worker:
    return Worker()
