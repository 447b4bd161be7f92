"""What can be asked for about a run that has ended: once more, taken back, gone on with. Each is a form to look at first."""

from collections.abc import Iterator
from typing import Final

from countersign.runs import FINISHED, RunStatus
from countersign.values import written
from store.runs import RunRow

from .panes import Asking, Cell

_UNDOABLE: Final = (RunStatus.succeeded, RunStatus.failed, RunStatus.cancelled)
_RESUMABLE: Final = (RunStatus.failed, RunStatus.cancelled)


def actions(asking: Asking, run: RunRow) -> Iterator[Cell]:
    """Links to forms, for what this person may run and what the run's end allows."""
    if run.status not in FINISHED:
        return
    given = {name: written(value)[:500] for name, value in run.arguments.items() if isinstance(value, str | int | float | bool)}
    yield from asking.link("Ask again", run.command, **given)
    if run.dry_run or run.plan is None:
        return
    if run.status in _UNDOABLE:
        yield from asking.link("Undo it", "undo", number=str(run.number))
    if run.status in _RESUMABLE:
        yield from asking.link("Go on with it", "resume", number=str(run.number))
