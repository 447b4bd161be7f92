"""trying: one step from its intent to its end, begun again after failures as the step says. Each try is in the journal."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from countersign.retries import Retrying
from countersign.tasks import ASK
from store.databases import WriteSession
from store.journals import Begun, Finished, Phase, StepKey, StepState, adopt_step, end_step, find_wait
from store.secrets import keep_secrets
from store.waits import Waiting, WaitKind

from .calling import Ended, Outcome, Work, call_step
from .halting import Watch
from .inquiring import clear_up
from .submitting import submit_child, wait_for_child
from .tasking import take_task

SHORT_SECONDS: Final = 10.0
"""A worker that waits no longer than this keeps the run; for longer it is parked."""
_STATES: Final = {Ended.done: StepState.done, Ended.held: StepState.not_done, Ended.parked: StepState.waiting}

Begin = Callable[[StepKey, Mapping[str, Any]], Awaitable[Begun | Outcome]]
HoldBack = Callable[[Finished], bool]


def _never(_: Finished) -> bool:
    return False


def key_of(work: Work, position: int, phase: Phase) -> StepKey:
    return StepKey(work.run.id, work.run.revision, position, phase, work.attempt)


async def take_step(
    work: Work,
    key: StepKey,
    step: Mapping[str, Any],
    results: Mapping[int, Any],
    *,
    begin: Begin,
    watch: Watch,
    waits: bool = False,
    held_back: HoldBack = _never,
) -> Outcome:
    """Begins, calls and records the end, as often as the step says; `waits` is for one that waits already. Raises LostClaim.

    That it is done is left to who says that it is `held_back`: he records it with what comes next.
    """
    if step["name"] == ASK.name:
        return await _take_task(work, key, step, results, begin=begin, waits=waits)
    if step.get("submits"):
        return await _take_child(work, key, step, results, begin=begin, waits=waits)
    retry = Retrying.of_json(step["retry"]) if step.get("retry") else None
    wait = await _left(work, key) if waits else 0.0
    while True:
        if wait > SHORT_SECONDS:
            return Outcome(Ended.parked, waits=(Waiting(WaitKind.backoff, f"{step['title']} is begun again", _named(key), after=wait),))
        if wait:
            await watch.sleep(wait)
        begun = await begin(key, step)
        if isinstance(begun, Outcome):
            return begun
        outcome = await clear_up(work, key, step, results, watch, await call_step(work, key, step, results, watch))
        again = _wait(retry, begun, outcome)
        _write_down(work, key, outcome, again)
        if outcome.how is Ended.done and not outcome.sealed and held_back(Finished(key, outcome.result)):
            await asyncio.sleep(0)  # whoever has the slot now calls first; a millisecond of each call was the end of the one before
            return outcome
        if outcome.how is not Ended.unclear:
            await _end(work, key, outcome, again)
        if again is None:
            return outcome
        wait = again


async def _take_child(
    work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], *, begin: Begin, waits: bool
) -> Outcome:
    if waits:
        return await wait_for_child(work, key, step)
    begun = await begin(key, step)
    work.services.slate.call(key)
    return begun if isinstance(begun, Outcome) else await submit_child(work, key, step, results)


async def _take_task(
    work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], *, begin: Begin, waits: bool
) -> Outcome:
    """A step that people do waits in the journal as long as nobody has answered."""
    if waits:
        async with work.services.statement() as session:
            await adopt_step(session, key, worker=work.services.name)
    elif isinstance(begun := await begin(key, step), Outcome):
        return begun
    work.services.slate.call(key)
    outcome = await take_task(work, key, step, results)
    if outcome.how is not Ended.parked or not waits:
        await _end(work, key, outcome, None)
    return outcome


async def _left(work: Work, key: StepKey) -> float:
    async with work.services.reading() as session:
        return await find_wait(session, key)


def _named(key: StepKey) -> str:
    return f"{key.position}:{key.phase}"


def _write_down(work: Work, key: StepKey, outcome: Outcome, wait: float | None) -> None:
    """On the slate, before the journal is told; a result with secrets is not for it."""
    if outcome.how is not Ended.unclear and not outcome.sealed:
        work.services.slate.end(key, state=_state(outcome, wait), result=outcome.result, error=outcome.error, wait=wait)


def _state(outcome: Outcome, wait: float | None) -> StepState:
    return StepState.waiting if wait is not None else _STATES.get(outcome.how, StepState.failed)


async def _end(work: Work, key: StepKey, outcome: Outcome, wait: float | None) -> None:
    end = partial(end_step, key=key, state=_state(outcome, wait), result=outcome.result, error=outcome.error, wait=wait)

    async def end_and_keep(session: WriteSession) -> None:
        await end(session)
        await keep_secrets(session, work.run.id, outcome.sealed)

    await (work.services.insist(end_and_keep) if outcome.sealed else work.services.insist_alone(end))


def _wait(retry: Retrying | None, begun: Begun, outcome: Outcome) -> float | None:
    """Seconds until the next try; None when there is none."""
    if retry is None or outcome.how is not Ended.failed or not outcome.again or begun.tries >= retry.attempts:
        return None
    wait = retry.wait_after(begun.tries, random.random())  # noqa: S311  spreads tries, protects nothing
    return wait if begun.seconds + wait <= retry.within else None
