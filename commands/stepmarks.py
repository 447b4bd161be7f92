"""stepmarks: how far each step of a plan is, for the lines of a card and for its picture."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Self

from countersign.shapes import left_out, shape_of
from store.journals import Phase, StepRow, StepState


class Mark(Enum):
    """How far a step is: the sign before its title, and the words for who cannot see it."""

    open = ("·", "not begun")
    left_out = ("–", "left out")
    calling = ("▸", "under way")
    waiting = ("◷", "waits to be begun again")
    done = ("✓", "done")
    failed = ("✗", "failed")
    undone = ("↩", "undone")

    def __init__(self, sign: str, words: str) -> None:
        self.sign, self.words = sign, words

    @classmethod
    def of(cls, row: StepRow | None, *, undo: StepRow | None = None, out: bool = False) -> Self:
        """Of a step's row in the journal and that of its undo."""
        if undo is not None and undo.state == StepState.done:
            return cls["undone"]
        if row is None or row.state == StepState.not_done:
            return cls["left_out" if out else "open"]
        return cls[row.state]


def marks_of(plan: Mapping[str, Any], rows: Sequence[StepRow]) -> list[Mark]:
    """The mark of each step, by position."""
    done = {row.position: row for row in rows if row.phase == Phase.do}
    undone = {row.position: row for row in rows if row.phase == Phase.undo}
    steps = plan.get("steps") or ()
    out = missed(plan, rows) if steps else set()
    return [Mark.of(done.get(n), undo=undone.get(n), out=n in out) for n in range(len(steps))]


def missed(plan: Mapping[str, Any], rows: Sequence[StepRow]) -> set[int]:
    """The positions of steps in branches that were not taken."""
    results = {row.position: row.result for row in rows if row.phase == Phase.do and row.state == StepState.done}
    return left_out(shape_of(plan), results)
