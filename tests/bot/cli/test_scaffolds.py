"""`countersign new command` writes something that works."""

import subprocess
import sys
from pathlib import Path

from tests.bot.cli.lines import countersign, surroundings


def test_what_is_written_passes_its_own_test(tmp_path: Path) -> None:
    ended = countersign("new", "command", "restart-api", home=tmp_path)
    assert ended.code == 0, ended.err
    assert [line for line in ended.out.splitlines() if line.startswith("wrote")] == [
        "wrote restart_api.py",
        "wrote tests/test_restart_api.py",
        "wrote pytest.ini",
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, env=surroundings(tmp_path), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_hello.py").write_text("mine\n")
    ended = countersign("new", "command", "hello", home=tmp_path)
    assert (ended.code, "tests/test_hello.py is there already; nothing was written." in ended.err) == (1, True)
    assert not (tmp_path / "hello.py").exists()


def test_a_word_of_python_is_a_name_too(tmp_path: Path) -> None:
    assert countersign("new", "command", "import", home=tmp_path).code == 0
    compile((tmp_path / "import_.py").read_text(), "import_.py", "exec")
