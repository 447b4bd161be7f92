"""Whose turn it is when several processes share the tests: the longest files begin first, then the stories, and what minds the clock runs
at last: what mostly waits beside its like, and what takes the whole machine alone.

Doors have patience with all others: a machine that is busy with several tests must not make an answer late.
"""

import fcntl
import gc
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from bot import deadlines
from store import databases
from tests.pieces import SPLIT

LONGEST: Final = (
    "tests/stories/test_chaos.py",
    "tests/matrix/test_matrix.py",
    "tests/machines/test_first_half.py",
    "tests/machines/test_second_half.py",
    "tests/stories/test_every_page.py",
    "tests/stories/test_critical_needs_passkeys.py",
    "tests/stories/test_room_in_chromium.py",
    "tests/bot/cli/up/test_story.py",
    "tests/commands/test_policy_oracle.py",
    "tests/automations/test_storms.py",
    "tests/stories/test_scripts_are_text.py",
    "tests/bot/console/test_scale.py",
    "tests/stories/test_killed_mid_decision.py",
    "tests/stories/test_killed_while_waiting.py",
    "tests/stories/test_rolling_restarts.py",
    "tests/bot/console/test_lives.py",
    "tests/stories/test_stale.py",
    "tests/automations/test_spilling.py",
    "tests/stories/test_races.py",
    "tests/stories/test_conversation_in_slack.py",
    "tests/stories/test_deploy_in_slack.py",
    "tests/stories/test_access.py",
    "tests/stories/test_signed_in_chromium.py",
    "tests/bot/cli/test_scaffolds.py",
    "tests/store/embedded/test_lives.py",
    "tests/stories/test_later_starts.py",
    "tests/stories/test_forged_requests.py",
    "tests/stories/test_leavers.py",
    "tests/rules/test_image.py",
    "tests/automations/test_courses.py",
    "tests/automations/test_waiting.py",
    "tests/stories/test_schedules.py",
    "tests/stories/test_changed_at_the_last_moment.py",
    "tests/automations/test_repairs.py",
)
"""Each takes more than ten seconds. Begun last, one of them would be one process's work while the others had none."""
PATIENCE_SECONDS: Final = 60.0
_KINDS: Final = ("", "quiet", "alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: position for position, name in enumerate(LONGEST)}

    def place(item: pytest.Item) -> tuple[int, int, bool, bool]:
        """Of what minds the clock the longest last: the shorter ones then share a process."""
        name = item.nodeid.partition("::")[0]
        return _KINDS.index(kind_of(item)), order.get(name, len(LONGEST)), "/stories/" not in name, name in SPLIT

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Half a million objects stay until the end: they are not looked through while they are made, nor again and again afterwards."""
    gc.disable()
    try:
        _read_from_elsewhere(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


def _read_from_elsewhere(config: pytest.Config) -> None:
    """In an empty clone each process would rewrite the asserts of all files, which is most of collecting them: beginning with another one
    each, it finds what the others have written. What cannot be imported is told when pytest comes to it.
    """
    worker, root = os.environ.get("PYTEST_XDIST_WORKER"), config.rootpath
    if worker and {root / one for one in config.args} == {root / one for one in config.getini("testpaths")}:
        files = sorted(root.glob("tests/**/test_*.py"))
        first = len(files) * int(worker.removeprefix("gw")) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        for file in files[first:] + files[:first]:
            with suppress(Exception, pytest.skip.Exception):
                import_module(".".join(file.relative_to(root).with_suffix("").parts))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Outside of the time limit, which begins when it is the test's turn."""
    kind = kind_of(item)
    with nullcontext() if kind else patience():
        if "PYTEST_XDIST_WORKER" not in os.environ:
            return (yield)
        with _turns.keep(item.config.cache.mkdir("turns"), kind, following=kind_of(nextitem) if nextitem else None):
            if kind:
                _set_aside()
            return (yield)


def _set_aside() -> None:
    """What hundreds of tests have left in this process is not looked through again and again while a test minds the clock."""
    gc.collect()
    gc.freeze()


@contextmanager
def patience() -> Iterator[None]:
    """Meanwhile the doors of this process take longer until they say that the database does not answer, and so do their statements."""
    with patch.object(deadlines, "ANSWER_SECONDS", PATIENCE_SECONDS), patch.object(databases, "DOOR_SECONDS", int(PATIENCE_SECONDS)):
        yield


def kind_of(item: pytest.Item) -> str:
    """`alone`, `quiet`, or nothing for a test that minds no clock."""
    return next((one for one in _KINDS[1:] if item.get_closest_marker(one)), "")


@contextmanager
def turn(folder: Path, kind: str) -> Iterator[None]:
    """Waits until no test of another kind is running, nor any at all if this one runs alone; whoever waits is the next."""
    with (folder / "door").open("w") as door, (folder / "loud").open("w") as loud, (folder / "quiet").open("w") as quiet:
        own, other = (quiet, loud) if kind == "quiet" else (loud, quiet)
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)
        if kind == "alone":
            fcntl.flock(own, fcntl.LOCK_EX)
        else:
            fcntl.flock(other, fcntl.LOCK_UN)
            fcntl.flock(own, fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
        yield


class Turns:
    """A process keeps its turn for all tests of one kind that follow each other.

    Given back after each test, those that mind the clock came one by one between the last of the others, and had the machine for 75 s in
    which it did nothing in 58.
    """

    def __init__(self) -> None:
        self._kept: ExitStack | None = None

    @contextmanager
    def keep(self, folder: Path, kind: str, *, following: str | None) -> Iterator[None]:
        """For a test of this kind; given back behind it unless the `following` one is of the same."""
        if self._kept is None:
            self._kept = ExitStack()
            self._kept.enter_context(turn(folder, kind))
        try:
            yield
        finally:
            if following != kind:
                self._kept.close()
                self._kept = None


_turns: Final = Turns()
