"""Whose turn it is: the files named are there, and what runs alone does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from tests.forks import ROOT
from tests.pieces import SPLIT, Pieces
from tests.turns import LONGEST, Turns, turn


@pytest.mark.parametrize("name", [*LONGEST, *SPLIT])
def test_the_longest_files_exist(name: str) -> None:
    assert (ROOT / name).is_file()


@pytest.mark.parametrize("kind", ["alone", "quiet"])
def test_some_share_the_room_and_what_minds_the_clock_has_it(tmp_path: Path, kind: str) -> None:
    entered, leave = Event(), Event()

    def alone() -> None:
        with turn(tmp_path, kind):
            entered.set()
            leave.wait(60)

    def together() -> bool:
        with turn(tmp_path, ""):
            return entered.is_set()

    with ThreadPoolExecutor(3) as pool:
        with turn(tmp_path, ""):
            assert pool.submit(together).result(10) is False
            first = pool.submit(alone)
            assert not entered.wait(0.1)
        assert entered.wait(60)
        later = pool.submit(together)
        assert not later.done()
        leave.set()
        first.result(10)
        assert later.result(10)


def test_quiet_ones_share_the_room_which_none_has_who_runs_alone(tmp_path: Path) -> None:
    def enter(kind: str) -> None:
        with turn(tmp_path, kind):
            pass

    with ThreadPoolExecutor(3) as pool:
        with turn(tmp_path, "quiet"):
            pool.submit(enter, "quiet").result(10)
            alone = pool.submit(enter, "alone")
            with pytest.raises(TimeoutError):
                alone.result(0.1)
        alone.result(10)


def test_a_process_keeps_its_turn_for_all_of_a_kind(tmp_path: Path) -> None:
    def enter() -> None:
        with turn(tmp_path, "quiet"):
            pass

    mine = Turns()
    with ThreadPoolExecutor(1) as pool:
        with mine.keep(tmp_path, "", following=""):
            quiet = pool.submit(enter)
        with pytest.raises(TimeoutError):
            quiet.result(0.1)
        with mine.keep(tmp_path, "", following="quiet"):
            pass
        quiet.result(10)
        with mine.keep(tmp_path, "quiet", following=None):
            pass
        with turn(tmp_path, "alone"):
            pass


class Process:
    """As the scheduler sees it."""

    gateway = SimpleNamespace(id="")
    shutting_down = False

    def __init__(self) -> None:
        self.given: list[int] = []

    def send_runtest_some(self, given: list[int]) -> None:
        self.given += given

    def shutdown(self) -> None:
        self.shutting_down = True


def test_nothing_stands_in_line_behind_its_like_while_a_process_has_nothing_to_do() -> None:
    tests = ["a.py::one", "a.py::two", "a.py::three", "b.py::one", f"{SPLIT[0]}::one", f"{SPLIT[0]}::two", "c.py::one"]
    config: Any = SimpleNamespace(getvalue=lambda name: ["popen"] * 2, option=SimpleNamespace(loadscopereorder=False))
    pieces, first, second = Pieces(config), Process(), Process()
    for process in (first, second):
        pieces.add_node(process)
        pieces.add_node_collection(process, tests)
    pieces.schedule()
    assert (first.given, second.given) == ([0, 1, 2], [3, 4])
    pieces.mark_test_complete(first, 0)
    assert first.given == [0, 1, 2], "it has two more"
    pieces.mark_test_complete(first, 1)
    assert first.given == [0, 1, 2, 5], "a process begins a test when it knows what is next, or that nothing is"
    assert first.shutting_down, "the other one can have what is left"
    pieces.mark_test_complete(second, 3)
    assert second.given == [3, 4, 6]
    for done in (2, 5):
        pieces.mark_test_complete(first, done)
    for done in (4, 6):
        pieces.mark_test_complete(second, done)
    assert first.shutting_down
    assert second.shutting_down
    assert pieces.tests_finished
