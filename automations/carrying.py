"""Carrying a plan out, and taking it back: the journal says what is done, so this can begin anywhere."""

from collections.abc import Sequence
from typing import Any

from commands.authorizing import Refused
from commands.switches import against_run
from countersign.runs import RunStatus
from store.journals import LostClaim, Phase, StepKey, StepRow, StepState, find_steps, settle_step
from store.people import find_person
from store.runs import Move, find_run, move
from store.switches import Held, hold

from .calling import Ended, Outcome, Work, call_step
from .makingplans import may_go_on
from .parking import park, paused


async def carry_out(work: Work) -> None:
    """Goes on wherever the journal ends, forwards or backwards, until the run is finished or needs a person."""
    rows = await _journal(work)
    if work.run.status == RunStatus.undoing or any(row.phase == Phase.undo for row in rows):
        await _take_up_undo(work, rows)
    elif not await _in_doubt(work, rows, Phase.do):
        await _forward(work)


async def settle(
    work: Work,
    to: RunStatus,
    *,
    because: str = "",
    outcome: str | None = None,
    keep_lease: bool = False,
    result: dict[str, Any] | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Moves the run under this worker's claim; raises LostClaim when the claim has ended."""
    wanted = Move(
        work.run.id,
        to,
        by="countersign",
        attempt=work.attempt,
        because=because,
        outcome=outcome,
        keep_lease=keep_lease,
        result=result,
        detail=detail or {},
    )
    async with work.services.transaction() as session:
        if not await move(session, [wanted]):
            raise LostClaim


async def give_back(work: Work, because: str) -> None:
    """Ends the claim without a move: the run goes on where it is once the switch is off. Raises LostClaim."""
    async with work.services.transaction() as session:
        if not await hold(session, [work.run.id], because=because, attempt=work.attempt):
            raise LostClaim


async def _forward(work: Work) -> None:
    steps = _steps(work)
    done = {row.position: row.result for row in await _journal(work) if row.phase == Phase.do and row.state == StepState.done}
    for position, step in enumerate(steps):
        if position in done:
            continue
        if (halt := await _halted(work)) is not None:
            await _stop(work, halt, position)
            return
        outcome = await call_step(work, _key(work, position, Phase.do), step, done)
        if outcome.how is Ended.done:
            done[position] = outcome.result
        else:
            await _stop(work, outcome, position)
            return
    last = done.get(len(steps) - 1)
    await settle(work, RunStatus.succeeded, outcome=_told(last), result={"result": last} if last is not None else None)


async def _stop(work: Work, outcome: Outcome, position: int) -> None:
    """A step did not end well: undo what is done, or leave it to a person when nobody knows what happened."""
    title = _steps(work)[position]["title"]
    rows = [row for row in await _journal(work) if row.phase == Phase.do]
    undoable = any(row.state == StepState.done and _steps(work)[row.position].get("undo") for row in rows)
    if outcome.how is Ended.held:
        await give_back(work, outcome.error)
    elif outcome.how is Ended.parked:
        await park(work, *outcome.waits)
    elif outcome.how is Ended.unclear:
        await settle(work, RunStatus.interrupted, because=outcome.error, outcome=f"{title} {outcome.error}; it may have happened.")
    elif outcome.how is Ended.cancelled:
        await _cancelled(work, title, begun=outcome.error != "before it began", undoable=undoable)
    elif outcome.how is Ended.barred:
        await _barred(work, title, why=outcome.error, rows=rows, undoable=undoable)
    elif undoable:
        await settle(work, RunStatus.undoing, because=f"{title}: {outcome.error}", outcome=f"{title}: {outcome.error}", keep_lease=True)
        await _backward(work)
    else:
        done = sum(row.state == StepState.done for row in rows)
        rest = f" {done} earlier {'step has' if done == 1 else 'steps have'} been done and cannot be undone." if done else ""
        await settle(work, RunStatus.failed, because=f"{title} failed", outcome=f"{title}: {outcome.error}.{rest}".replace("..", "."))


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
    unclear = " That step was under way when its worker died; it may have happened." if rows[-1].state == StepState.calling else ""
    undo = " What was done before can be undone." if undoable else ""
    outcome = f"Stopped before {title}: {why}{unclear}{undo}"
    await settle(work, RunStatus.interrupted, because="the asker lost the right", outcome=outcome)


async def _take_up_undo(work: Work, rows: Sequence[StepRow]) -> None:
    if await _in_doubt(work, rows, Phase.undo):
        return
    if work.run.status != RunStatus.undoing:
        await settle(work, RunStatus.undoing, because="the undo goes on", keep_lease=True)
    elif work.run.choice == "undo":
        await _resolve(work, happened=True)  # whether or not it happened, it is taken back
    await _backward(work)


async def _backward(work: Work) -> None:
    """Undoes finished steps in reverse; what has no undo stays and is named."""
    rows = await _journal(work)
    done = {row.position: row.result for row in rows if row.phase == Phase.do and row.state == StepState.done}
    undone = {row.position for row in rows if row.phase == Phase.undo and row.state == StepState.done}
    steps, stays = _steps(work), []
    for position in sorted(done, reverse=True):
        undo = steps[position].get("undo")
        if undo is None:
            stays.append(steps[position]["title"])
        elif position not in undone:
            if stopped := await _stopped(work):
                await give_back(work, stopped)
                return
            outcome = await call_step(work, _key(work, position, Phase.undo), undo, done)
            if outcome.how is not Ended.done:
                await _undo_stopped(work, outcome, undo["title"])
                return
    left = f" It stays: {', '.join(stays)}." if stays else ""
    await settle(
        work,
        RunStatus.rolled_back,
        because="undone in reverse",
        outcome=f"{work.run.outcome or _why(rows)} Everything that can be undone is undone.{left}".strip(),
    )


async def _undo_stopped(work: Work, outcome: Outcome, title: str) -> None:
    if outcome.how is Ended.held:
        await give_back(work, outcome.error)
    elif outcome.how is Ended.unclear:
        await settle(work, RunStatus.interrupted, because=outcome.error, outcome=f"The undo {title} {outcome.error}; it may have happened.")
    else:
        await settle(work, RunStatus.rollback_failed, because=f"{title} failed", outcome=f"The undo {title} failed: {outcome.error}")


async def _in_doubt(work: Work, rows: Sequence[StepRow], phase: Phase) -> bool:
    """Whether a step was in flight when its worker died and may not be repeated; a person's word on it is taken up first."""
    flying = next((row for row in rows if row.phase == phase and row.state == StepState.calling), None)
    choice = work.run.choice
    if choice in ("happened", "again"):
        await _resolve(work, happened=choice == "happened")
        return False
    if flying is None or choice == "undo" or _step_of(work, flying)["idempotent"]:
        return False
    title = _step_of(work, flying)["title"]
    await settle(
        work,
        RunStatus.interrupted,
        because="its worker died during a call that must not be repeated",
        outcome=f"{title} was under way when its worker died; it may have happened.",
        detail={"position": flying.position, "phase": flying.phase, "in_flight": True},
    )
    return True


async def _resolve(work: Work, *, happened: bool) -> None:
    async with work.services.transaction() as session:
        await settle_step(session, work.run.id, revision=work.run.revision, happened=happened)


async def _halted(work: Work) -> Outcome | None:
    """Why the next step may not begin, as of now: a person has cancelled, or the asker has lost the right to go on."""
    async with work.services.reading() as session:
        rulebook = await work.services.current_rulebook(session)
        run, person = await find_run(session, work.run.id), await find_person(session, work.run.asker)
    if run is not None and run.cancelled_by is not None:
        return Outcome(Ended.cancelled, error="before it began")
    if run is not None and run.paused_by is not None:
        return Outcome(Ended.parked, waits=(paused(run.paused_by),))
    if stopped := await _stopped(work):
        return Outcome(Ended.held, error=stopped)
    if person is None or not person.active:
        return Outcome(Ended.barred, error=f"the account of {work.run.asker} is not active any more.")
    right = may_go_on(rulebook, person, work.run, work.command) if work.command else None
    if isinstance(right, Refused):
        return Outcome(Ended.barred, error=f"{person.name} may not run {work.run.command} any more. {right.sentence}")
    return None


async def _stopped(work: Work) -> str:
    """What a kill switch that is on at this moment says against this run; empty when none does."""
    run = work.run
    async with work.services.reading() as session:
        switches = await work.services.current_switches(session)
    return against_run(switches, Held(run.id, run.command, run.risk, run.dry_run, run.status), planning=False)


async def _journal(work: Work) -> list[StepRow]:
    async with work.services.reading() as session:
        return await find_steps(session, work.run.id, revision=work.run.revision)


def _key(work: Work, position: int, phase: Phase) -> StepKey:
    return StepKey(work.run.id, work.run.revision, position, phase, work.attempt)


def _steps(work: Work) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = (work.run.plan or {})["steps"]
    return steps


def _step_of(work: Work, row: StepRow) -> dict[str, Any]:
    step = _steps(work)[row.position]
    undo: dict[str, Any] = step["undo"]
    return step if row.phase == Phase.do else undo


def _why(rows: Sequence[StepRow]) -> str:
    return next((f"{row.name.rpartition('.')[2]}: {row.error}." for row in rows if row.error), "")


def _told(result: Any) -> str:
    return result[:300] if isinstance(result, str) else ""
