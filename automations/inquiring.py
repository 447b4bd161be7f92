"""inquiring: what became of a call that nobody here knows is asked at the other side, before a person is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, Final

from countersign.arguments import Duration
from store.databases import WriteSession
from store.journals import Phase, StepKey, StepState
from store.lookups import begin_lookup, end_lookup, is_gone, key_of_lookup
from store.secrets import keep_secrets

from .calling import Ended, Outcome, Work, call_step
from .halting import Gate, Watch, stopped

AGAIN_SECONDS: Final = (1.0, 2.0)
"""How long it is waited before each further look-up while the answer is open."""


class Said(StrEnum):
    """What the other side says about the call."""

    happened = "it happened"
    not_done = "it did not happen"
    unclear = "it cannot say"


_STATES: Final = {Said.happened: StepState.done, Said.not_done: StepState.not_done}


@dataclass(frozen=True)
class Answer:
    """What the look-up said, the call's result if it happened, and why it is unclear, for people."""

    said: Said
    result: Any = None
    why: str = ""
    sealed: Mapping[str, bytes] = field(default_factory=dict)


async def may_ask(work: Work, phase: Phase) -> bool:
    """Nobody asks anything for a run that a kill switch stops, or whose asker lost the right; an undo needs no right."""
    if phase is Phase.undo:
        async with work.services.reading() as session:
            return not await stopped(work, session)
    halt = await Gate(work).look()
    return halt is None or halt.how not in (Ended.held, Ended.barred)


async def inquire(
    work: Work, asked: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], watch: Watch, *, made_by: str = ""
) -> Answer:
    """Asks what became of the call, and again while the answer is open, and tells the audit. Raises LostClaim.

    A yes counts at once. A no counts when what was sent has had the time to arrive, and nobody is left who could still send anything.
    With `made_by`, a worker that is thought to be dead, the call is settled: it is done, or may be begun again; without it that is left
    to who made the call. A look-up is a call like any other: it has a time limit and takes its turns.
    """
    lookup = step["lookup"]
    check = {**lookup["check"], "about": asked.phase}
    await work.services.insist(partial(begin_lookup, asked=asked, name=check["name"], worker=work.services.name))
    answer = Answer(Said.unclear)
    for passed, pause in enumerate((0.0, Duration.parse(lookup["after"]).total_seconds(), *AGAIN_SECONDS)):
        await asyncio.sleep(pause)
        answer = _heard(await call_step(work, key_of_lookup(asked), check, results, watch))
        if answer.said is Said.not_done and passed and made_by and not await _is_gone(work, made_by):
            answer = Answer(Said.unclear, why="it did not happen so far, but the worker that made the call may be alive")
        elif answer.said is Said.happened or (answer.said is Said.not_done and passed):
            break
    await work.services.insist(partial(_write, work=work, asked=asked, title=check["title"], answer=answer, settles=bool(made_by)))
    return answer


async def clear_up(
    work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], watch: Watch, outcome: Outcome
) -> Outcome:
    """The outcome of a call made here that is unclear, once the other side was asked: done, failed without effect, or unclear still."""
    if outcome.how is not Ended.unclear or not step.get("lookup") or not await may_ask(work, key.phase):
        return outcome
    answer = await inquire(work, key, step, results, watch)
    if answer.said is Said.happened:
        return Outcome(Ended.done, result=answer.result, sealed=answer.sealed)
    told = f"{outcome.error}, and {told_of(step, answer)}"
    if answer.said is Said.not_done:
        return Outcome(Ended.failed, error=told, again=bool(step.get("retry")))
    return Outcome(Ended.unclear, error=told)


def told_of(step: Mapping[str, Any], answer: Answer) -> str:
    """Whom we asked and what the answer was, for a sentence."""
    return f"{step['lookup']['check']['title']} says: {answer.said}{f' ({answer.why})' if answer.why else ''}"


def _heard(outcome: Outcome) -> Answer:
    """Only a plain yes or no is one: whatever else comes back, or goes wrong, leaves it open."""
    if outcome.how is Ended.parked:
        return Answer(Said.unclear, why=f"{outcome.waits[0].detail} comes too late")
    if outcome.how is not Ended.done:
        return Answer(Said.unclear, why=outcome.error)
    if outcome.result is False:
        return Answer(Said.not_done)
    if outcome.result is True:
        return Answer(Said.happened)
    if isinstance(outcome.result, dict) and outcome.result.get("happened") is True:
        return Answer(Said.happened, result=outcome.result.get("result"), sealed=outcome.sealed)
    return Answer(Said.unclear)


async def _is_gone(work: Work, worker: str) -> bool:
    async with work.services.reading() as session:
        return await is_gone(session, work.run.id, worker=worker)


async def _write(session: WriteSession, work: Work, asked: StepKey, title: str, answer: Answer, *, settles: bool) -> None:
    state = _STATES.get(answer.said) if settles else None
    await end_lookup(session, asked, title=title, said=answer.said, error=answer.why, state=state, result=answer.result)
    if state is not None:
        await keep_secrets(session, work.run.id, answer.sealed)
