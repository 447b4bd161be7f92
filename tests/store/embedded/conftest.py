"""Folders for embedded servers, and a look at which processes live in them."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.embedded import EmbeddedPostgres


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that `nobody` can reach when the tests run as root; pytest's own are closed to everybody else."""
    folder = _folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_data_dir() -> Iterator[Path]:
    """The same for a server that the tests of one module share."""
    folder = _folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A data folder with a Postgres that was started and stopped, to copy from: making one takes a second."""
    folder = _folder()
    server = EmbeddedPostgres(folder, durable=False)
    server.start()
    server.stop()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def made(made_once: Path, data_dir: Path) -> Path:
    """The test's data folder, with a Postgres of its own that has run before."""
    # cp, because shutil does not keep the owner, and as root that is nobody.
    subprocess.run(["cp", "-a", str(made_once / "postgres"), str(data_dir)], check=True)
    return data_dir


def processes_in(folder: Path) -> list[int]:
    """Ids of the living processes whose working folder is this one or below it; a server works in its data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                working = (entry / "cwd").readlink()
            except OSError:  # ended meanwhile, a zombie, or not ours to see
                continue
            if working.is_relative_to(folder.resolve()):
                found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], *, seconds: float = 60.0) -> bool:
    """Whether the condition becomes true before the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="countersign-test-"))
    folder.chmod(0o711)
    return folder
