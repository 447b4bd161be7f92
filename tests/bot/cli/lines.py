"""The command line, in a process of its own as a person runs it, or in the test's."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest
import typer

from bot.cli.endings import finish
from tests.forks import Fork


@dataclass(frozen=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def countersign(*words: str, home: Path, text: str = "", settings: Mapping[str, str] | None = None, seconds: float = 180) -> Ended:
    """Runs `countersign words…` in the folder `home`, with these settings and nobody else's, typing `text`."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bot.cli", *words],
        cwd=home,
        env=surroundings(home) | dict(settings or {}),
        input=text,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def forked(*words: str, home: Path, text: str = "", settings: Mapping[str, str] | None = None, seconds: float = 180) -> Ended:
    """The same for a command that is one of many, without its start-up."""
    with tempfile.TemporaryDirectory() as folder:
        typed, out, err = (Path(folder) / name for name in ("in", "out", "err"))
        typed.write_text(text)
        program = Fork(("countersign", *words), surroundings(home) | dict(settings or {}), out, err=err, typed=str(typed))
        code = program.wait(seconds)
        return Ended(code, out.read_text(), err.read_text())


def surroundings(home: Path) -> dict[str, str]:
    """The test's environment without any setting of ours, at home in this folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    return plain | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}


def called(app: typer.Typer, *words: str, name: str = "countersign") -> Ended:
    """The same in this process, for commands that become no other program."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", [name, *words]), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        finish(app, name=name)
    assert isinstance(ended.value.code, int)
    return Ended(ended.value.code, out.getvalue(), err.getvalue())
