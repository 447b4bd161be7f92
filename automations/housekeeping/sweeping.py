"""sweeping: the clock behind everything: lost hints, ended leases, requests that are due, choices to refresh."""

import asyncio
import inspect
import logging
import time
from contextlib import suppress
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from automations.brokers import EXECUTING, PLANNING, queue_of
from automations.planning import fallback_of
from automations.services import Services
from automations.switching import SwitchTender
from commands.ending import tend_grants
from commands.loading import Loaded, tell_admins
from commands.policies import PolicyError
from countersign.runs import RunStatus
from store.claims import find_due
from store.counts import count_blocks
from store.hookdeliveries import forget_deliveries
from store.levels import BATCH as COUNTED_AT_ONCE
from store.levels import count_ended
from store.passkeys import forget_challenges
from store.promises import look_for_lost
from store.workers import find_labels, note_worker, save_choices, show_labelled

from .dispatching import Dispatcher
from .minding import close_old_tasks, mind_tasks
from .tending import BATCH as TENDED_AT_ONCE
from .tending import ask_for_reviews, tend_requests
from .waking import forget_old_waits, wake_ripe

_log = logging.getLogger(__name__)
SWEEP_SECONDS: Final = 1.0
QUIET_SECONDS: Final = 1.0
# The one who leads may be hung, and hold the lock all the same: after so long the others hint as well, which does no harm.
LEFT_LYING_SECONDS: Final = 3.0
TENDING_SECONDS: Final = 2.0
CHOICES_SECONDS: Final = 30.0
HINTED_AT_ONCE: Final = 1_024
"""More than a worker plans in a second, so that none stands still with thousands of runs in front of it until the next sweep."""
LOST_SECONDS: Final = 15.0
_WORK: Final = {
    PLANNING: (RunStatus.submitted, RunStatus.planning),
    EXECUTING: (RunStatus.queued, RunStatus.running, RunStatus.undoing),
}


async def sweep(services: Services, dispatcher: Dispatcher) -> None:
    """Sweeps every second until cancelled; trouble with the database is waited out."""
    refreshed = forgotten = looked = 0.0
    switches = SwitchTender()
    while True:
        try:
            await switches.tend(services)
            await wake_ripe(services)
            await hint_what_is_due(services, dispatcher)
            await _tend_all(services)
            await ask_for_reviews(services)
            await mind_tasks(services)
            await count_all(services)
            async with services.transaction() as session:
                await tend_grants(session, chat=fallback_of(services))
            async with services.reading() as session:
                # Commands that were saved meanwhile, and the policy, for who else needs them here.
                rulebook = await services.current_rulebook(session)
            if rulebook.problem:
                async with services.transaction() as session:
                    await tell_admins(session, Loaded(rulebook.policy, rulebook.problem), chat=fallback_of(services))
            if time.monotonic() - refreshed > CHOICES_SECONDS:
                await refresh_choices(services)
                refreshed = time.monotonic()
            if time.monotonic() - looked > LOST_SECONDS:
                await watch_promises(services)
                looked = time.monotonic()
            if time.monotonic() - forgotten > 3_600:
                await _forget_old_keys(services)
                await forget_old_waits(services)
                await close_old_tasks(services)
                forgotten = time.monotonic()
        except (SQLAlchemyError, OSError, PolicyError) as error:
            _log.warning("a sweep was interrupted: %s", type(error).__name__)
        with suppress(TimeoutError):
            async with asyncio.timeout(SWEEP_SECONDS):
                await dispatcher.unheard.wait()


async def count_all(services: Services) -> None:
    """Counts the requests that have ended, and what sealed blocks say of runs, into the service levels."""
    async with services.statement() as session:
        while await count_ended(session) == COUNTED_AT_ONCE:
            pass
        while await count_blocks(session):
            pass


async def watch_promises(services: Services) -> None:
    """Looks for what was lost; whoever runs the hub reads of it in the log too."""
    async with services.statement() as session:
        lost = await look_for_lost(session)
    if lost:
        _log.error("%d requests or deliveries that were accepted are lost; countersign promises names one", lost)


async def refresh_choices(services: Services) -> None:
    """Asks every choice source for its values; one that fails keeps its last ones."""
    values = {}
    for command in services.registry.commands.values():
        for source in (one.source for one in command.schema.parameters if one.source):
            try:
                found = source.source() if source.source else ()
                values[source.name] = [str(one) for one in (await found if inspect.isawaitable(found) else found)][:500]
            except Exception:
                _log.exception("choices of %s could not be refreshed", source.name)
    async with services.transaction() as session:
        await save_choices(session, values)


async def _tend_all(services: Services) -> None:
    """Many may be due at once, when people come or go; what else there is to do does not wait long for them."""
    until = time.monotonic() + TENDING_SECONDS
    while await tend_requests(services) == TENDED_AT_ONCE and time.monotonic() < until:
        pass


async def hint_what_is_due(services: Services, dispatcher: Dispatcher) -> None:
    """Hints again at what is due and no worker has: the one who leads soon, the others late, so that nothing hangs on one process.

    Whoever has just come to lead hints at all of it: nobody has heard of what became due while nobody led.
    """
    quiet = QUIET_SECONDS if dispatcher.leads else LEFT_LYING_SECONDS
    quiet = 0.0 if dispatcher.unheard.is_set() else quiet
    dispatcher.unheard.clear()
    async with services.transaction() as session:
        await note_worker(session, name=services.name, role="housekeeping", versions=services.registry.versions)
        labels = await find_labels(session)
        if labels != dispatcher.labels:
            await show_labelled(session)
            dispatcher.labels = labels
        due = {
            queue_of(role, label): await find_due(session, statuses=statuses, quiet=quiet, limit=HINTED_AT_ONCE, label=label)
            for role, statuses in _WORK.items()
            for label in ("", *labels)
        }
    for queue, ids in due.items():
        await dispatcher.hint_again(queue, ids)


async def _forget_old_keys(services: Services) -> None:
    """A request older than a week cannot be delivered again: signatures live five minutes, platforms retry for hours."""
    async with services.transaction() as session:
        await session.execute(
            text("DELETE FROM inbox WHERE received_at < countersign_now() - interval '7 days' AND NOT starts_with(key, 'hook:')")
        )
        await forget_challenges(session)
        await forget_deliveries(session, days=services.settings.delivery_days)
