"""Carrying a plan out: the journal says what is done, so this can begin anywhere."""

from collections.abc import Sequence
from typing import Any, Final

from countersign.runs import RunStatus
from countersign.shapes import last_result, shape_of
from store.beginnings import Start
from store.journals import Phase, StepRow, StepState

from .calling import Ended, Work
from .doubting import in_doubt
from .parking import park
from .settling import give_back, hand_on, journal_of, listed, settle, steps_of
from .submitting import cancel_children
from .undoing import take_up_undo, undo_all
from .walking import Stop, Walk

# Of several steps that did not end well beside each other, that which leaves most to a person says what becomes of the run.
_FIRST: Final = (Ended.unclear, Ended.cancelled, Ended.barred, Ended.failed, Ended.held, Ended.left)


async def carry_out(work: Work, start: Start | None = None) -> None:
    """Goes on wherever the journal ends, forwards or backwards, until the run is finished or needs a person.

    `start` is how it has just begun, if it has.
    """
    if start is not None and start.fresh:
        await _forward(work, [], start)
        return
    rows = await journal_of(work)
    if work.run.status == RunStatus.undoing or any(row.phase == Phase.undo for row in rows):
        await take_up_undo(work, rows)
    elif not await in_doubt(work, rows, Phase.do):
        changed = work.run.choice or any(row.state == StepState.calling for row in rows)
        await _forward(work, await journal_of(work) if changed else rows)


async def _forward(work: Work, rows: Sequence[StepRow], start: Start | None = None) -> None:
    walk = Walk(work, rows, start)
    await walk.go()
    if walk.stops:
        await _stop(work, walk.stops)
        return
    work.slot.free()
    if walk.waits:
        await park(work, *walk.waits.values())
        return
    last = last_result(shape_of(work.run.plan or {}), walk.results)
    await settle(work, RunStatus.succeeded, outcome=_told(last), result={"result": last} if last is not None else None, last=walk.last)


async def _stop(work: Work, stops: Sequence[Stop]) -> None:
    """Steps did not end well: undo what is done, or leave it to a person when nobody knows what happened."""
    how = next(one for one in _FIRST if any(stop.outcome.how is one for stop in stops))
    same = sorted((stop for stop in stops if stop.outcome.how is how), key=lambda stop: stop.position)
    title, error = steps_of(work)[same[0].position]["title"], same[0].outcome.error
    rows = [row for row in await journal_of(work) if row.phase == Phase.do]
    if how in (Ended.cancelled, Ended.barred, Ended.failed):
        await cancel_children(work)
    undoable = any(row.state == StepState.done and steps_of(work)[row.position].get("undo") for row in rows)
    if how is Ended.held:
        await give_back(work, error)
    elif how is Ended.left:
        await hand_on(work)
    elif how is Ended.unclear:
        await _unclear(work, same)
    elif how is Ended.cancelled:
        await _cancelled(work, listed(_titles(work, same)), begun=error != "before it began", undoable=undoable)
    elif how is Ended.barred:
        await _barred(work, title, why=error, rows=rows, undoable=undoable)
    elif undoable:
        await settle(work, RunStatus.undoing, because=f"{title}: {error}", outcome=f"{title}: {error}", keep_lease=True)
        await undo_all(work)
    else:
        done = sum(row.state == StepState.done for row in rows)
        rest = f" {done} earlier {'step has' if done == 1 else 'steps have'} been done and cannot be undone." if done else ""
        await settle(work, RunStatus.failed, because=f"{title} failed", outcome=f"{title}: {error}.{rest}".replace("..", "."))


async def _unclear(work: Work, stops: Sequence[Stop]) -> None:
    told = [f"{title} {stop.outcome.error}" for title, stop in zip(_titles(work, stops), stops, strict=True)]
    outcome = f"{'; '.join(told)}; {'it' if len(stops) == 1 else 'they'} may have happened."
    await settle(work, RunStatus.interrupted, because=stops[0].outcome.error, outcome=outcome)


async def _cancelled(work: Work, title: str, *, begun: bool, undoable: bool) -> None:
    if undoable:
        await settle(work, RunStatus.interrupted, because="cancelled", outcome=f"Cancelled at {title}; what was done before can be undone.")
    else:
        part = "; it may have happened in part." if begun else "; that step was not begun."
        await settle(work, RunStatus.cancelled, because="cancelled", outcome=f"Cancelled at {title}{part}")


async def _barred(work: Work, title: str, *, why: str, rows: Sequence[StepRow], undoable: bool) -> None:
    """Nothing goes on in the name of somebody who may not do it any more; what to do with what is done is for a person to say."""
    if not any(row.state in (StepState.done, StepState.calling) for row in rows):
        await settle(work, RunStatus.cancelled, because="the asker lost the right", outcome=f"Nothing was done: {why}")
        return
    flying = any(row.state == StepState.calling for row in rows)
    unclear = " That step was under way when its worker died; it may have happened." if flying else ""
    undo = " What was done before can be undone." if undoable else ""
    outcome = f"Stopped before {title}: {why}{unclear}{undo}"
    await settle(work, RunStatus.interrupted, because="the asker lost the right", outcome=outcome)


def _titles(work: Work, stops: Sequence[Stop]) -> list[str]:
    return [steps_of(work)[stop.position]["title"] for stop in stops]


def _told(result: Any) -> str:
    return result[:300] if isinstance(result, str) else ""
