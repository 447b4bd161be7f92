"""Calling one step, once: a time limit, a person's cancel, and the outcome as a value."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from countersign.arguments import Duration
from countersign.commands import Command
from countersign.contexts import Asker, Context, I, Opener
from countersign.errors import CountersignError, NothingDone, NotYet, Stopped
from countersign.integrations import taking_turns
from countersign.plans import resolved
from countersign.retries import Retrying
from countersign.schemas import written_json
from countersign.steps import StepFunction
from store import traces
from store.journals import Bearing, LostClaim, StepKey
from store.people import Person
from store.runs import RunRow
from store.secrets import put_back
from store.waits import Waiting, WaitKind

from .journaling import StepJournal
from .redactions import Redactor
from .services import Services
from .slots import Slot
from .turns import turns_of

_log = logging.getLogger(__name__)


class Ended(StrEnum):
    """How a call ended. `unclear`: it may or may not have happened. `barred`: the asker lost the right before it began.

    `held`: a kill switch stood in its way before it did anything. `parked`: it has to wait for something, which `Outcome.waits` names.
    `left`: the worker ends, and did not begin it; another one does.
    """

    done = "done"
    failed = "failed"
    unclear = "unclear"
    cancelled = "cancelled"
    barred = "barred"
    held = "held"
    parked = "parked"
    left = "left"


@dataclass(frozen=True)
class Outcome:
    """How a call ended. `again`: it failed in a way that lets it be begun again, if the step says when."""

    how: Ended
    result: Any = None
    error: str = ""
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    again: bool = False
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
    slot: Slot
    """The run's place among those that this process carries out at once."""
    steps: Mapping[str, StepFunction[..., Any]]
    command: Command | None = None
    asked: bool = True
    """Whether anybody was asked to approve it: planning alone opens a request, and with it the claim ends."""
    looked: tuple[float, Bearing] | None = None
    """When, on the monotonic clock, this worker claimed a run that had not begun, and how things stood with it."""


class Watcher(Protocol):
    """Knows whether a person has cancelled the run or its time is over, and ends the calls that it is told of when that happens."""

    cancelled: asyncio.Event
    over: str

    def ends(self, call: "asyncio.Future[Any]") -> AbstractContextManager[None]: ...


async def call_step(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], watcher: Watcher) -> Outcome:
    """Calls it, intent recorded already. Raises LostClaim when this worker's claim has ended meanwhile."""
    with traces.span(f"step {step['name']}", work.run.trace, position=key.position, phase=key.phase, attempt=key.attempt):
        outcome = await _call(work, key, step, results, watcher)
        traces.tell(outcome=outcome.how)
        return outcome


async def _call(work: Work, key: StepKey, step: Mapping[str, Any], results: Mapping[int, Any], watcher: Watcher) -> Outcome:
    journal = StepJournal(work.services, key, work.redactor)
    opener = _Opener(work.services.catalog)
    task = asyncio.ensure_future(_run(work, key, step, results, journal, watcher.cancelled, opener))
    try:
        with watcher.ends(task):
            return _done(work, await task)
    except LostClaim:
        raise
    except TimeoutError as error:
        return _unclear(step, f"took longer than {step['timeout']}", error)
    except asyncio.CancelledError as error:
        if watcher.over:
            return _unclear(step, f"was stopped: {watcher.over}", error)
        if not watcher.cancelled.is_set():
            raise
        return Outcome(Ended.cancelled, error="cancelled while it ran")
    except NotYet as error:
        return Outcome(Ended.parked, waits=(Waiting(WaitKind.turn, str(error), f"{key.position}:{key.phase}", after=error.seconds),))
    except Stopped as error:
        return _stopped(step, str(error), acted=opener.gave)
    except CountersignError as error:
        how = Ended.cancelled if watcher.cancelled.is_set() else Ended.failed
        return Outcome(how, error=_clean(work, str(error)), again=_may_again(step, error))
    except Exception as error:
        told = work.services.redactor.clean(work.redactor.clean_error(error))
        _log.error("step %s of run %s raised: %s", step["name"], work.run.id, told)
        return Outcome(Ended.failed, error=f"{type(error).__name__} (the worker's log has more)", again=_may_again(step, error))
    finally:
        task.cancel()  # of no effect unless this call itself is being cancelled
        await journal.close()


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
        key=f"{work.run.id}:{key.revision}:{key.position}:{step.get('about', key.phase)}",
        seed=int.from_bytes(hashlib.sha256(work.run.id.bytes + key.position.to_bytes(4)).digest()[:8]),
        opener=opener,
        journal=journal,
        cancelled=is_cancelled,
        services=work.services if step["name"].startswith("commands.shipped") else None,
    )
    work.services.slate.call(key)
    async with asyncio.timeout(Duration.parse(step["timeout"]).total_seconds()) as limit:
        with taking_turns(turns_of(work.services, key, journal, limit)):
            return await function.function(context, **values)


def _done(work: Work, result: Any) -> Outcome:
    """The result as JSON: a Secret is sealed and leaves its mark, by which a later step may use it; known secrets in texts are dots."""
    sealed: dict[str, bytes] = {}
    marked = work.services.sealer.taken_out(written_json(result), sealed)
    work.secrets.update({mark: work.services.opener.open(one) for mark, one in sealed.items()})
    work.redactor.learn(work.secrets.values())
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


def _unclear(step: Mapping[str, Any], why: str, error: BaseException) -> Outcome:
    """An idempotent step that was cut off may simply count as failed; of any other nobody knows whether it happened."""
    return Outcome(Ended.failed if step["idempotent"] else Ended.unclear, error=why, again=_may_again(step, error))


def _may_again(step: Mapping[str, Any], error: BaseException) -> bool:
    """Whether it may be begun again after this: a repeat does no harm, or the step says that nothing was done or that this is no matter."""
    if not step.get("retry") or isinstance(error, asyncio.CancelledError):
        return False
    if isinstance(error, NothingDone):
        return True
    retry = Retrying.of_json(step["retry"])
    return retry.names(error) if retry.on else bool(step["idempotent"])


def _clean(work: Work, sentence: str) -> str:
    return work.services.redactor.clean(work.redactor.clean(" ".join(sentence.split())))[:500]
