"""What a worker writes down outlives it, and nobody relies on a slate that may lack a call."""

import os
import tempfile
from typing import IO
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations import slates
from automations.slates import Slate
from store.journals import Phase, StepKey

MOVES = st.lists(st.tuples(st.sampled_from(("call", "end", "forget")), st.integers(0, 3), st.integers(0, 2)), max_size=60)


def key(run: int, position: int = 0) -> StepKey:
    return StepKey(UUID(int=run), 1, position, Phase.do, 7)


def signed(file: IO[bytes]) -> Slate:
    slate = Slate(file)
    slate.begin("host/own-1:executing:70-a")
    return slate


def end(slate: Slate, one: StepKey, result: object = None) -> None:
    slate.end(one, state="done", result=result, error="", wait=None)


@pytest.mark.parametrize("room", [10, 10_000])
@given(moves=MOVES)
def test_who_comes_later_reads_every_call_of_what_was_not_forgotten(room: int, moves: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryFile(buffering=0) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(slates, "ROOM", room)
        slate, wanted = signed(file), dict[StepKey, object]()
        for what, run, position in moves:
            one = key(run, position)
            if what == "call":
                slate.call(one)
                wanted[one] = None
            elif what == "end" and one in wanted:
                end(slate, one, result=position)
                wanted[one] = {"state": "done", "result": position, "error": "", "wait": None}
            elif what == "forget":
                slate.forget(one.run_id)
                wanted = {known: value for known, value in wanted.items() if known.run_id != one.run_id}
        words = Slate(file).read()
        assert words is not None
        assert words.worker == "host/own-1:executing:70-a"
        assert words.calls.items() >= wanted.items()
        assert {one: slate.ended(one.run_id).get(one) for one in wanted} == wanted


def test_a_line_cut_off_was_not_written_and_a_slate_without_a_name_says_nothing() -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        assert Slate(file).read() is None
        slate = signed(file)
        slate.call(key(1))
        slate.call(key(2))
        os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - 1)
        words = Slate(file).read()
        assert words is not None
        assert list(words.calls) == [key(1)]
        os.pwrite(file.fileno(), b"\0" * 30, 0)
        assert Slate(file).read() is None
    assert Slate().read() is None


def test_an_end_that_is_too_long_to_keep_is_left_open() -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        slate = signed(file)
        slate.call(key(1))
        end(slate, key(1), result="x" * slates.LONGEST_LINE)
        words = Slate(file).read()
        assert words is not None
        assert words.calls == {key(1): None}


def test_where_a_call_cannot_be_written_nothing_is_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryFile(buffering=0) as file:
        slate = signed(file)
        slate.call(key(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", _full)
            slate.call(key(2))
        slate.call(key(3))
        assert Slate(file).read() is None
        slate.begin("host/own-1:executing:71-b")
        words = Slate(file).read()
        assert words is not None
        assert not words.calls


def _full(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_a_long_plan_is_written_down_call_by_call_and_not_looked_through_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2,000 steps in a plan two thirds of a worker's time were that."""
    lines, line = [0], slates._line

    def counted(one: StepKey, end: slates.End | None) -> bytes:
        lines[0] += 1
        return line(one, end)

    monkeypatch.setattr(slates, "_line", counted)
    with tempfile.TemporaryFile(buffering=0) as file:
        slate = signed(file)
        for position in range(3_000):
            slate.call(key(1, position))
            end(slate, key(1, position))
        assert lines[0] == 6_000
        slate.forget(UUID(int=1))
        slate.call(key(2))
        words = slate.read()
        assert words is not None
        assert list(words.calls) == [key(2)], "what does not matter any more is thrown away"
