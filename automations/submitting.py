"""submitting: a step that submits another command as the same person, and waits for the end of the run that comes of it."""

from collections.abc import Mapping
from typing import Any, Final

from commands.submit import Birth, Prepared, prepare
from countersign.invocations import Door, Invocation, Place
from countersign.plans import resolved
from countersign.runs import FINISHED, RunStatus
from store.approvals import close_request, find_request
from store.audits import record
from store.children import find_child, find_children, find_depth, keep_child
from store.halts import BEGUN, ask_to_cancel
from store.journals import StepKey, StepState, adopt_step, end_step
from store.runs import Move, RunRow, create, move
from store.secrets import put_back
from store.waits import Waiting, WaitKind, wake

from .calling import Ended, Outcome, Work

DEEPEST: Final = 5
_GOOD: Final = (RunStatus.succeeded, RunStatus.answered)


async def submit_child(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any]) -> Outcome:
    """Submits once, whatever happens meanwhile: the request has the step's own key. The intent is recorded already. Raises LostClaim."""
    try:
        arguments = put_back(resolved(step["arguments"], results), work.secrets)
    except (KeyError, IndexError, TypeError):
        return await _failed(work, key, "an earlier result that it needs has no such part")
    async with work.services.reading() as session:
        rulebook = await work.services.current_rulebook(session)
        deep = await find_depth(session, work.run.id) >= DEEPEST
    if deep:
        return await _failed(work, key, f"commands may submit each other at most {DEEPEST} deep")
    invocation = Invocation(
        key=f"step:{work.run.id}:{key.revision}:{key.position}:{key.phase}",
        door=Door(work.run.door),
        place=Place(**work.run.place) if work.run.place else Place("api"),
        command=arguments["command"],
        arguments=arguments["arguments"],
        reason=work.run.reason,
        trace=work.run.trace,
    )
    prepared = prepare(rulebook, work.person, invocation)
    if not isinstance(prepared, Birth):
        return await _refused(work, key, prepared, however=_however(step))
    async with work.services.transaction() as session:
        born = (await create(session, [prepared.run]))[invocation.key]
        await keep_child(session, key, born.run_id)
        await end_step(session, key, state=StepState.waiting)
    return await wait_for_child(work, key, step)


async def wait_for_child(work: Work, key: StepKey, step: Mapping[str, Any]) -> Outcome:
    """The end of the child, or that it has to be waited for."""
    async with work.services.statement() as session:
        await adopt_step(session, key, worker=work.services.name)
        child = await find_child(session, key)
    if child is None:
        return await _failed(work, key, "the run that it submitted is not there")
    name = f"#{child.number} {child.command}"
    if child.status not in FINISHED:
        return Outcome(Ended.parked, waits=(Waiting(WaitKind.child, f"{name} has to end", str(child.id)),))
    if child.status not in _GOOD and not _however(step):
        return await _failed(work, key, f"{name} was {child.status.replace('_', ' ')}: {child.outcome}".rstrip(": ."))
    ended = {"status": child.status, "outcome": child.outcome} if _however(step) else {}
    return await _done(work, key, {"run": child.number, "id": str(child.id), **ended, "result": _result(child)})


async def cancel_children(work: Work) -> None:
    """Has the runs stopped that this one does not wait for any more."""
    because = f"#{work.run.number} {work.run.command}, which submitted it, was stopped"
    async with work.services.transaction() as session:
        for child in await find_children(session, work.run.id):
            if child.status in BEGUN:
                await ask_to_cancel(session, child.id, by="countersign")
                await wake(session, [child.id], because=because)
            elif child.status not in FINISHED:
                request = await find_request(session, child.id)
                stopped = Move(child.id, RunStatus.cancelled, by="countersign", because=because, outcome=f"Cancelled: {because}.")
                if await move(session, [stopped]) and request is not None:
                    await close_request(session, request.id, state="superseded")


def _however(step: Mapping[str, Any]) -> bool:
    """Whether the plan goes on however the child ends."""
    return bool(step["arguments"].get("however"))


async def _refused(work: Work, key: StepKey, prepared: Prepared, *, however: bool) -> Outcome:
    event = getattr(prepared, "event", None)
    if event is not None:
        async with work.services.transaction() as session:
            await record(session, [event])
    said = getattr(prepared, "sentence", "") or "it answers at once and is no command that a step can submit"
    if however and event is not None:
        return await _done(work, key, {"run": None, "id": None, "status": "refused", "outcome": said, "result": None})
    return await _failed(work, key, said)


async def _done(work: Work, key: StepKey, result: dict[str, Any]) -> Outcome:
    async with work.services.statement() as session:
        await end_step(session, key, state=StepState.done, result=result)
    return Outcome(Ended.done, result=result)


async def _failed(work: Work, key: StepKey, error: str) -> Outcome:
    told = error.rstrip(".")[:500]
    async with work.services.statement() as session:
        await end_step(session, key, state=StepState.failed, error=told)
    return Outcome(Ended.failed, error=told)


def _result(child: RunRow) -> Any:
    kept = child.result or {}
    return kept.get("text") if child.status == RunStatus.answered else kept.get("result")
