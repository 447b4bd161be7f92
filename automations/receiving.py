"""receiving: what was delivered to triggers becomes runs, each delivery once."""

import json
import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from commands.alertings import ingest
from commands.mappings import Unmapped
from commands.rulebooks import Rulebook
from commands.triggering import Kind, Nothing, Starts, invocation_of, read_alerts, read_delivery
from commands.unattended import submit_unattended
from store.databases import WriteSession, trouble_of
from store.hookdeliveries import MOST_ATTEMPTS, DeliveryRow, end_delivery, lock_delivery, take_deliveries
from store.triggers import TriggerRow, find_trigger

from .planning import fallback_of
from .services import Services

_log = logging.getLogger(__name__)
BATCH: Final = 64
TOGETHER: Final = 16  # a commit costs more than what is done for one


async def receive(services: Services) -> int:
    """Works on at most 64 deliveries in the order in which they came; returns how many were taken."""
    async with services.transaction() as session:
        ids = await take_deliveries(session, limit=BATCH)
    for start in range(0, len(ids), TOGETHER):
        await _receive(services, ids[start : start + TOGETHER])
    return len(ids)


async def _receive(services: Services, ids: Sequence[UUID]) -> None:
    """In one transaction: whoever repeats it after a crash finds either all of it done or nothing. One that breaks it is left alone."""
    try:
        async with services.transaction() as session:
            for one in ids:
                await _receive_one(services, session, one)
    except Exception as error:
        if trouble_of(error) is not None:
            raise
        if len(ids) == 1:
            _log.exception("delivery %s could not be worked on; it is tried again", ids[0])
            return
        for one in ids:
            await _receive(services, [one])


async def _receive_one(services: Services, session: WriteSession, delivery: UUID) -> None:
    row = await lock_delivery(session, delivery)
    if row is None:
        return
    trigger = await find_trigger(session, row.trigger_id)
    if trigger is None or trigger.ended_at is not None:
        await end_delivery(session, row.id, state="failed", reason="ended", said="The trigger has ended.")
    elif row.attempts > MOST_ATTEMPTS:
        said = f"It was tried {MOST_ATTEMPTS} times, and each time whoever worked on it ended unexpectedly; the log says how."
        await end_delivery(session, row.id, state="failed", reason="parked", said=said)
    else:
        await _work_on(services, session, trigger, row)


async def _work_on(services: Services, session: WriteSession, trigger: TriggerRow, row: DeliveryRow) -> None:
    if trigger.kind != Kind.command:
        await _take_alerts(services, session, trigger, row)
        return
    rulebook = await services.current_rulebook(session)
    found = read_delivery(rulebook.registry, trigger, json.loads(row.body or "{}"), row.event)
    if isinstance(found, Nothing):  # what was accepted under an earlier revision of the trigger, or of the command
        state = "filtered" if found.reason == "filtered" else "failed"
        await end_delivery(session, row.id, state=state, reason=found.reason, said=found.sentence)
    else:
        await _start(rulebook, session, trigger, row, found)


async def _take_alerts(services: Services, session: WriteSession, trigger: TriggerRow, row: DeliveryRow) -> None:
    try:
        told = read_alerts(trigger, json.loads(row.body or "{}"), delivery=str(row.id), at=row.received_at)
    except Unmapped as error:
        await end_delivery(session, row.id, state="failed", reason="unmapped", said=str(error))
        return
    said = await ingest(session, trigger, told, chat=fallback_of(services))
    await end_delivery(session, row.id, state="done", said=said)


async def _start(rulebook: Rulebook, session: WriteSession, trigger: TriggerRow, row: DeliveryRow, found: Starts) -> None:
    """The service account asks, as anybody would; what is refused is refused in the same words, and recorded."""
    invocation = invocation_of(trigger, row, found)
    sent = await submit_unattended(
        session, rulebook, invocation, account=trigger.account, source=f"trigger {trigger.name}", holder=trigger.holder
    )
    said = sent.sentence or (f"#{sent.born.number} {found.command}" if sent.born else "")
    state, run = "failed" if sent.refused else "done", sent.born.run_id if sent.born else None
    await end_delivery(session, row.id, state=state, reason=sent.refused, said=said, run=run)
