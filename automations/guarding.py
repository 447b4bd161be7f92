"""guarding: a step that is done is watched until its guard has held for as long as it has to."""

from collections.abc import Mapping
from typing import Any

from countersign.arguments import Duration
from store.guards import Guarding, note_look, take_guard
from store.journals import StepKey, StepState, end_step
from store.waits import Waiting, WaitKind

from .calling import Ended, Outcome, Work, call_step
from .halting import Gate, Watch
from .trying import SHORT_SECONDS


async def watch_step(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], *, gate: Gate, watch: Watch) -> Outcome:
    """Looks whenever a look is due; done when the guard has held, failed when it has not, parked until the next look otherwise."""
    guard = step["guard"]
    check, every, lasts = guard["check"], _seconds(guard["every"]), _seconds(guard["for"])
    async with work.services.statement() as session:
        now = await take_guard(session, key, name=check["name"], worker=work.services.name, every=every)
    while True:
        if (halt := await gate.look()) is not None:
            return halt
        if now.left > SHORT_SECONDS:
            return Outcome(Ended.parked, waits=(Waiting(WaitKind.guard, _told(step, now, lasts), str(key.position), after=now.left),))
        await watch.sleep(now.left)
        if watch.awake.is_set():
            return await gate.look() or Outcome(Ended.failed, error="was watched no further")
        outcome = await call_step(work, key, check, results, watch)
        if outcome.how in (Ended.cancelled, Ended.held):
            return outcome
        failed = _failure(outcome)
        failures = now.failures + 1 if failed else 0
        if failures >= guard["failures"]:
            return await _end(work, key, StepState.failed, f"{check['title']} failed after it was done: {failed}")
        passed = now.passed + now.left
        if not failed and passed >= lasts:
            return await _end(work, key, StepState.done, "")
        async with work.services.statement() as session:
            await note_look(session, key, failures=failures, error=failed, every=every)
        async with work.services.statement() as session:
            now = await take_guard(session, key, name=check["name"], worker=work.services.name, every=every)


async def _end(work: Work, key: StepKey, state: StepState, error: str) -> Outcome:
    async with work.services.statement() as session:
        await end_step(session, key, state=state, error=error)
    return Outcome(Ended.failed if error else Ended.done, error=error)


def _failure(outcome: Outcome) -> str:
    """What is wrong; empty when the check holds."""
    if outcome.how is not Ended.done:
        return outcome.error or "it could not be looked at"
    return "it says no" if outcome.result is False else ""


def _told(step: Mapping[str, Any], now: Guarding, lasts: float) -> str:
    left = Duration(seconds=round(max(0, lasts - now.passed)))
    return f"{step['title']} is done and watched by {step['guard']['check']['title']} for {left} more"


def _seconds(text: str) -> float:
    return Duration.parse(text).total_seconds()
