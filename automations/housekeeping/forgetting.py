"""forgetting: logs and files of runs that ended long ago, in small batches, each written into the record; and bytes that nobody may see."""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from countersign.runs import FINISHED
from store.artifacts import drop_artifacts, find_leftovers, forget_artifacts
from store.audits import AuditEvent, record
from store.erasures import erase_traces, forget_runs
from store.logs import forget_logs
from store.messages import forget_messages
from store.objects import ObjectsAway

_log = logging.getLogger(__name__)
LOOK_SECONDS: Final = 3_600.0
PAUSE_SECONDS: Final = 0.2
RUNS_AT_ONCE: Final = 20
FILES_AT_ONCE: Final = 50
MESSAGES_AT_ONCE: Final = 500
_FINISHED: Final = sorted(FINISHED)


async def forget_always(services: Services) -> None:
    """Looks every hour until cancelled, and goes on in small steps while there is something; trouble is waited out."""
    while True:
        try:
            found = await forget_old(services)
        except (SQLAlchemyError, OSError, ObjectsAway) as error:
            _log.warning("forgetting was interrupted: %s", error if isinstance(error, ObjectsAway) else type(error).__name__)
            found = 0
        await asyncio.sleep(PAUSE_SECONDS if found else LOOK_SECONDS)


async def forget_old(services: Services) -> int:
    """One batch of each; returns how many runs and files it found. Any number of housekeepers may do so at once."""
    told = await _erase_traces(services) + await _forget_runs(services) + await _forget_messages(services)
    return told + await _forget_logs(services) + await _drop_files(services) + await _remove_bytes(services)


async def _forget_runs(services: Services) -> int:
    """What was said about runs, if that is not kept for ever."""
    days = services.settings.run_days
    if not days:
        return 0
    async with services.transaction() as session:
        return await forget_runs(session, days=days, limit=RUNS_AT_ONCE)


async def _forget_messages(services: Services) -> int:
    days = services.settings.message_days
    if not days:
        return 0
    async with services.transaction() as session:
        count = await forget_messages(session, days=days, finished=_FINISHED, limit=MESSAGES_AT_ONCE)
        await record(session, [AuditEvent("messages:forgotten", "countersign", None, {"count": count, "days": days})] if count else [])
    return count


async def _erase_traces(services: Services) -> int:
    """What a run that has erased somebody still says about them, once it has ended."""
    async with services.transaction() as session:
        return await erase_traces(session)


async def _forget_logs(services: Services) -> int:
    days = services.settings.log_days
    async with services.transaction() as session:
        lines = await forget_logs(session, days=days, finished=_FINISHED, limit=RUNS_AT_ONCE)
        await record(session, [AuditEvent("log:forgotten", "countersign", run, {"lines": n, "days": days}) for run, n in lines.items()])
    return len(lines)


async def _drop_files(services: Services) -> int:
    """From now on nobody sees them; their bytes go later."""
    days = services.settings.artifact_days
    async with services.transaction() as session:
        dropped = await drop_artifacts(session, days=days, finished=_FINISHED, limit=FILES_AT_ONCE)
        events = [AuditEvent("artifacts:forgotten", "countersign", run, {"files": names, "days": days}) for run, names in dropped.items()]
        await record(session, events)
    return len(dropped)


async def _remove_bytes(services: Services) -> int:
    """The bytes first and then the row that says where they are, so that a death in between leaves nothing behind."""
    async with services.reading() as session:
        left = await find_leftovers(session, limit=FILES_AT_ONCE)
    for _, key in left:
        await services.objects.delete(key)
    if left:
        async with services.transaction() as session:
            await forget_artifacts(session, [id_ for id_, _ in left])
    return len(left)
