"""Calling one step: intent before effect, a time limit, a person's cancel, and the outcome as a value."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text

from countersign.arguments import Duration
from countersign.commands import Command
from countersign.contexts import Asker, Context, I, Opener
from countersign.errors import CountersignError, Stopped
from countersign.plans import StepFunction, resolved
from countersign.schemas import written_json
from store.journals import LostClaim, StepKey, StepState, begin_step, end_step
from store.people import Person
from store.runs import RunRow
from store.secrets import keep_secrets, put_back
from store.waits import Waiting

from .journaling import StepJournal
from .redactions import Redactor
from .services import Services

_log = logging.getLogger(__name__)


class Ended(StrEnum):
    """How a call ended. `unclear`: it may or may not have happened. `barred`: the asker lost the right before it began.

    `held`: a kill switch stood in its way before it did anything. `parked`: it has to wait for something, which `Outcome.waits` names.
    """

    done = "done"
    failed = "failed"
    unclear = "unclear"
    cancelled = "cancelled"
    barred = "barred"
    held = "held"
    parked = "parked"


_STATES: Final = {Ended.done: StepState.done, Ended.held: StepState.not_done}


@dataclass(frozen=True)
class Outcome:
    how: Ended
    result: Any = None
    error: str = ""
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    waits: Sequence[Waiting] = ()


@dataclass(frozen=True)
class Work:
    """One claimed run being executed, by the steps that were loaded with its command: a reload meanwhile does not change it."""

    services: Services
    run: RunRow
    person: Person
    attempt: int
    secrets: dict[str, str]
    redactor: Redactor
    steps: Mapping[str, StepFunction[..., Any]]
    command: Command | None = None


async def call_step(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any]) -> Outcome:
    """Records the intent, calls, records the end. Raises LostClaim when this worker's claim has ended meanwhile."""
    async with work.services.transaction() as session:
        await begin_step(session, key, name=step["name"], worker=work.services.name)
    outcome = await _called(work, key, step, results)
    if outcome.how is not Ended.unclear:
        state = _STATES.get(outcome.how, StepState.failed)
        async with work.services.transaction() as session:
            await end_step(session, key, state=state, result=outcome.result, error=outcome.error)
            await keep_secrets(session, work.run.id, outcome.sealed)
    return outcome


async def _called(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any]) -> Outcome:
    journal = StepJournal(work.services, key, work.redactor)
    cancelled, opener = asyncio.Event(), _Opener(work.services.catalog)
    task = asyncio.ensure_future(_run(work, key, step, results, journal, cancelled, opener))
    watcher = asyncio.ensure_future(_watch(work, task, cancelled))
    try:
        result = await task
        return _done(work, result)
    except LostClaim:
        raise
    except TimeoutError:
        return _unclear(step, f"took longer than {step['timeout']}")
    except asyncio.CancelledError:
        if not cancelled.is_set():
            raise
        return Outcome(Ended.cancelled, error="cancelled while it ran")
    except Stopped as error:
        return _stopped(step, str(error), acted=opener.gave)
    except CountersignError as error:
        how = Ended.cancelled if cancelled.is_set() else Ended.failed
        return Outcome(how, error=_clean(work, str(error)))
    except Exception as error:
        told = work.services.redactor.clean(work.redactor.clean_error(error))
        _log.error("step %s of run %s raised: %s", step["name"], work.run.id, told)
        return Outcome(Ended.failed, error=f"{type(error).__name__} (the worker's log has more)")
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        await journal.flush()


async def _run(
    work: Work,
    key: StepKey,
    step: Mapping[str, Any],
    results: Mapping[int, Any],
    journal: StepJournal,
    cancelled: asyncio.Event,
    opener: "_Opener",
) -> Any:
    function = work.steps.get(step["name"])
    if function is None:
        raise CountersignError(f"this worker does not have the step {step['name']}")
    arguments = put_back(resolved(step["arguments"], results), work.secrets)
    values = function.schema.validate(arguments)

    async def is_cancelled() -> bool:
        return cancelled.is_set()

    context = Context(
        asker=Asker(work.person.name, work.person.groups, work.person.timezone),
        now=work.run.created_at,
        key=f"{work.run.id}:{key.revision}:{key.position}:{key.phase}",
        seed=int.from_bytes(hashlib.sha256(work.run.id.bytes + key.position.to_bytes(4)).digest()[:8]),
        opener=opener,
        journal=journal,
        cancelled=is_cancelled,
        services=work.services if step["name"].startswith("commands.shipped") else None,
    )
    async with asyncio.timeout(Duration.parse(step["timeout"]).total_seconds()):
        return await function.function(context, **values)


async def _watch(work: Work, task: "asyncio.Future[Any]", cancelled: asyncio.Event) -> None:
    """Ends the call within 2 s of a person's cancel; the step hears of it first and has a second to end by itself.

    An integration that is stopped meanwhile refuses its next call.
    """
    while True:
        await asyncio.sleep(0.7)
        async with work.services.reading() as session:
            row = (await session.execute(text("SELECT cancelled_by FROM runs WHERE id = :id"), {"id": work.run.id})).one()
            await work.services.current_switches(session)
        if row.cancelled_by:
            cancelled.set()
            await asyncio.sleep(1.0)
            task.cancel()
            return


def _done(work: Work, result: Any) -> Outcome:
    """The result as JSON: a Secret is sealed and leaves its mark, by which a later step may use it; known secrets in texts are dots."""
    sealed: dict[str, bytes] = {}
    marked = work.services.sealer.taken_out(written_json(result), sealed)
    work.secrets.update({mark: work.services.opener.open(one) for mark, one in sealed.items()})
    return Outcome(Ended.done, result=work.services.redactor.clean_data(work.redactor.clean_data(marked)), sealed=sealed)


class _Opener:
    """The catalog, and whether this step was given any integration: one that was given none has not acted through any."""

    def __init__(self, catalog: Opener) -> None:
        self._catalog = catalog
        self.gave = False

    def __call__(self, kind: type[I], /, *, planning: bool) -> I:
        opened = self._catalog(kind, planning=planning)
        self.gave = True
        return opened


def _stopped(step: Mapping[str, Any], why: str, *, acted: bool) -> Outcome:
    """A step that did nothing yet, or may be repeated, begins again later; of any other nobody knows how far it came."""
    if step["idempotent"] or not acted:
        return Outcome(Ended.held, error=why)
    return Outcome(Ended.unclear, error=f"was stopped on its way ({why.rstrip('.')})")


def _unclear(step: Mapping[str, Any], why: str) -> Outcome:
    """An idempotent step that was cut off may simply count as failed; of any other nobody knows whether it happened."""
    return Outcome(Ended.failed if step["idempotent"] else Ended.unclear, error=why)


def _clean(work: Work, sentence: str) -> str:
    return work.services.redactor.clean(work.redactor.clean(" ".join(sentence.split())))[:500]
