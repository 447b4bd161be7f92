"""receiving: what was delivered to triggers becomes runs, each delivery once."""

import json
import logging
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from commands.alertings import ingest
from commands.mappings import Unmapped
from commands.rulebooks import Rulebook
from commands.triggering import Kind, Nothing, Starts, invocation_of, read_alerts, read_delivery
from commands.unattended import submit_unattended
from store.databases import WriteSession
from store.hookdeliveries import MOST_ATTEMPTS, DeliveryRow, end_delivery, lock_delivery, take_deliveries
from store.triggers import TriggerRow, find_trigger

from .planning import fallback_of
from .services import Services

_log = logging.getLogger(__name__)
BATCH: Final = 64


async def receive(services: Services) -> int:
    """Works on at most 64 deliveries, one after the other in the order in which they came; returns how many were taken."""
    async with services.transaction() as session:
        ids = await take_deliveries(session, limit=BATCH)
    for one in ids:
        try:
            await _receive_one(services, one)
        except (SQLAlchemyError, OSError):
            raise
        except Exception:
            _log.exception("delivery %s could not be worked on; it is tried again", one)
    return len(ids)


async def _receive_one(services: Services, delivery: UUID) -> None:
    """In one transaction: whoever repeats it after a crash finds either all of it done or nothing."""
    async with services.transaction() as session:
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
