"""trying: one step from its intent to its end, begun again after failures as the step says. Each try is in the journal."""

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from countersign.retries import Retrying
from store.journals import Begun, Phase, StepKey, StepState, end_step, find_wait
from store.secrets import keep_secrets

from .calling import Ended, Outcome, Work, call_step
from .halting import Watch

_STATES: Final = {Ended.done: StepState.done, Ended.held: StepState.not_done}

Begin = Callable[[StepKey, Mapping[str, Any]], Awaitable[Begun | Outcome]]


def key_of(work: Work, position: int, phase: Phase) -> StepKey:
    return StepKey(work.run.id, work.run.revision, position, phase, work.attempt)


async def take_step(
    work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], *, begin: Begin, watch: Watch, waits: bool = False
) -> Outcome:
    """Begins, calls and records the end, as often as the step says; `waits` is for one that waits already. Raises LostClaim."""
    retry = Retrying.of_json(step["retry"]) if step.get("retry") else None
    if waits:
        async with work.services.reading() as session:
            await watch.sleep(await find_wait(session, key))
    while True:
        begun = await begin(key, step)
        if isinstance(begun, Outcome):
            return begun
        outcome = await call_step(work, key, step, results, watch)
        wait = _wait(retry, begun, outcome)
        if outcome.how is not Ended.unclear:
            await _end(work, key, outcome, wait)
        if wait is None:
            return outcome
        await watch.sleep(wait)


async def _end(work: Work, key: StepKey, outcome: Outcome, wait: float | None) -> None:
    state = StepState.waiting if wait is not None else _STATES.get(outcome.how, StepState.failed)
    if not outcome.sealed:
        async with work.services.statement() as session:
            await end_step(session, key, state=state, result=outcome.result, error=outcome.error, wait=wait)
        return
    async with work.services.transaction() as session:
        await end_step(session, key, state=state, result=outcome.result, error=outcome.error, wait=wait)
        await keep_secrets(session, work.run.id, outcome.sealed)


def _wait(retry: Retrying | None, begun: Begun, outcome: Outcome) -> float | None:
    """Seconds until the next try; None when there is none."""
    if retry is None or outcome.how is not Ended.failed or not outcome.again or begun.tries >= retry.attempts:
        return None
    wait = retry.wait_after(begun.tries, random.random())  # noqa: S311  spreads tries, protects nothing
    return wait if begun.seconds + wait <= retry.within else None
