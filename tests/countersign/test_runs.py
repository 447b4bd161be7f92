from pathlib import Path

import pytest

from countersign.runs import BIRTHS, FINISHED, MOVES, RunStatus, may_move, sources_of
from docs.generate import runs_page

S = RunStatus

DESIGNED = {
    S.submitted: {S.planning},
    S.planning: {S.answered, S.awaiting_approval, S.queued},
    S.awaiting_approval: {S.queued, S.denied, S.expired},
    S.queued: {S.running, S.stale},
    S.stale: {S.awaiting_approval, S.queued},
    S.running: {S.waiting, S.succeeded, S.undoing, S.interrupted, S.failed},
    S.waiting: {S.running},
    S.undoing: {S.rolled_back, S.rollback_failed},
    S.interrupted: {S.running, S.undoing, S.failed},
}

# What the drawing leaves out, each with its reason. A move added without one fails here.
ADDED = {
    (S.planning, S.failed): "the planner raised",
    (S.undoing, S.interrupted): "the worker died while it took a step back",
    (S.awaiting_approval, S.submitted): "somebody changed what is asked, so it is planned again",
    (S.queued, S.submitted): "the same, after the approval",
    (S.queued, S.awaiting_approval): "an approval was taken back before the execution",
}


def test_the_table_is_the_designed_one_and_the_reasoned_additions() -> None:
    expected = {status: set(DESIGNED.get(status, ())) for status in RunStatus}
    for source, to in ADDED:
        assert to not in expected[source]
        expected[source].add(to)
    for status in DESIGNED:
        expected[status].add(S.cancelled)
    assert {status: set(moves) for status, moves in MOVES.items()} == expected


@pytest.mark.parametrize("status", RunStatus)
def test_whatever_is_not_finished_can_be_cancelled_and_the_rest_stays(status: RunStatus) -> None:
    assert may_move(status, S.cancelled) is (status not in FINISHED)
    assert (MOVES[status] == frozenset()) is (status in FINISHED)
    assert not may_move(status, status)


def test_every_status_is_reached_from_a_birth() -> None:
    reached = set(BIRTHS)
    while more := {to for status in reached for to in MOVES[status]} - reached:
        reached |= more
    assert reached == set(RunStatus)


@pytest.mark.parametrize("status", [one for one in RunStatus if one not in FINISHED])
def test_from_everywhere_an_end_other_than_cancelling_is_reached(status: RunStatus) -> None:
    reached = {status}
    while more := {to for one in reached for to in MOVES[one]} - reached:
        reached |= more
    assert (reached & FINISHED) - {S.cancelled}


def test_births() -> None:
    assert {S.submitted, S.answered, S.refused} == BIRTHS
    assert sources_of(S.refused) == ()


@pytest.mark.parametrize("to", RunStatus)
def test_sources_are_the_table_read_backwards(to: RunStatus) -> None:
    assert set(sources_of(to)) == {status for status in RunStatus if may_move(status, to)}
    assert list(sources_of(to)) == [status for status in RunStatus if status in sources_of(to)]


def test_nothing_runs_that_was_not_queued() -> None:
    assert set(sources_of(S.running)) == {S.queued, S.waiting, S.interrupted}


def test_the_committed_page_is_what_the_script_writes() -> None:
    page = Path(__file__).parents[2] / "docs" / "authors" / "runs.md"
    assert page.read_text(encoding="utf-8") == runs_page(), "run: python docs/generate.py"
