"""undoing: what was done is taken back in the reverse order of its end, each undo a call with a journal of its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from countersign.runs import RunStatus
from store.journals import Begun, Phase, StepKey, StepRow, StepState
from store.provings import prove_undo

from .calling import Ended, Outcome, Work
from .doubting import in_doubt, take_back_all
from .halting import LEFT, Watch, begin, stopped
from .parking import park
from .settling import give_back, hand_on, journal_of, settle, steps_of
from .trying import key_of, take_step


async def take_up_undo(work: Work, rows: Sequence[StepRow]) -> None:
    """Goes on with an undo that has begun, or begins the one that a person has chosen."""
    if await in_doubt(work, rows, Phase.undo):
        return
    if work.run.status != RunStatus.undoing:
        await settle(work, RunStatus.undoing, because="the undo goes on", keep_lease=True)
    elif work.run.choice == "undo":
        await take_back_all(work, rows)
    await undo_all(work)


async def undo_all(work: Work) -> None:
    """Undoes finished steps, the one that ended last first; what has no undo stays and is named."""
    rows = await journal_of(work)
    done = [row for row in rows if row.phase == Phase.do and row.state == StepState.done]
    done.sort(key=lambda row: (row.ended_at, row.position), reverse=True)
    stays = [
        steps_of(work)[row.position]["title"] for row in done if not _undo_of(work, row) and not steps_of(work)[row.position].get("reads")
    ]
    async with Watch(work, undoing=True) as watch:
        for row in done:
            if (outcome := await _undo(work, rows, row, {one.position: one.result for one in done}, watch)).how is not Ended.done:
                await _undo_stopped(work, outcome, _undo_of(work, row)["title"])
                return
    left = f" It stays: {', '.join(stays)}." if stays else ""
    told = f"{work.run.outcome or _why(rows)} Everything that can be undone is undone.{left}".strip()
    await settle(work, RunStatus.rolled_back, because="undone in reverse", outcome=told)


async def _undo(work: Work, rows: Sequence[StepRow], row: StepRow, results: Mapping[int, Any], watch: Watch) -> Outcome:
    earlier = next((one for one in rows if one.position == row.position and one.phase == Phase.undo), None)
    undo = _undo_of(work, row)
    if not undo or (earlier is not None and earlier.state == StepState.done):
        return Outcome(Ended.done)
    waits = earlier is not None and earlier.state == StepState.waiting
    key = key_of(work, row.position, Phase.undo)
    outcome = await take_step(work, key, undo, results, begin=partial(_begin, work), watch=watch, waits=waits)
    if outcome.how is Ended.done:
        async with work.services.statement() as session:
            await prove_undo(session, command=work.run.command, step=row.name, undo=undo["name"], run_id=work.run.id)
    return outcome


async def _begin(work: Work, key: StepKey, step: Mapping[str, Any]) -> Begun | Outcome:
    if work.services.ending:
        return LEFT
    async with work.services.reading() as session:
        why = await stopped(work, session)
    return Outcome(Ended.held, error=why) if why else await begin(work, key, step)


async def _undo_stopped(work: Work, outcome: Outcome, title: str) -> None:
    if outcome.how is Ended.held:
        await give_back(work, outcome.error)
    elif outcome.how is Ended.left:
        await hand_on(work)
    elif outcome.how is Ended.parked:
        await park(work, *outcome.waits)
    elif outcome.how is Ended.unclear:
        await settle(work, RunStatus.interrupted, because=outcome.error, outcome=f"The undo {title} {outcome.error}; it may have happened.")
    else:
        await settle(work, RunStatus.rollback_failed, because=f"{title} failed", outcome=f"The undo {title} failed: {outcome.error}")


def _undo_of(work: Work, row: StepRow) -> dict[str, Any]:
    return steps_of(work)[row.position].get("undo") or {}


def _why(rows: Sequence[StepRow]) -> str:
    return next((f"{row.name.rpartition('.')[2]}: {row.error.rstrip('.')}." for row in rows if row.error), "")
