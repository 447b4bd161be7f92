"""tracing: what is known only from rows of how a run came to this worker. Nothing of it is done while traces are off."""

import logging
import time
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from countersign.runs import RunStatus
from store import traces
from store.approvals import find_request
from store.claims import Claim
from store.runs import RunRow
from store.traces import find_traces

from .services import Services

_log = logging.getLogger(__name__)


def note_claim(run: RunRow, claim: Claim) -> None:
    """From when a fresh run was due to when this worker had it, by the database's clock; of any other one only the moment is known."""
    if not traces.is_on():
        return
    ended = claim.at
    began = run.moved_at if claim.status is RunStatus.queued else run.created_at if claim.attempt == 1 else ended
    began = max(began, run.start_at) if run.start_at else began
    traces.past("claim", run.trace, began=began.timestamp(), ended=ended.timestamp(), run=run.number, attempt=claim.attempt)


async def note_approval(run: RunRow, claim: Claim, services: Services) -> None:
    """For how long people were waited for, and what they said: once, when the run is taken up afterwards."""
    if not traces.is_on() or claim.status is not RunStatus.queued:
        return
    async with services.reading() as session:
        request = await find_request(session, run.id)
    if request is not None and request.closed_at is not None:
        began, ended = request.opened_at.timestamp(), request.closed_at.timestamp()
        traces.past("approval", run.trace, began=began, ended=ended, run=run.number, state=request.state)


async def note_hints(services: Services, queue: str, ids: Sequence[UUID], began: float) -> None:
    """The hints that were given to workers from `began`, in seconds since 1970, until now."""
    ended = time.time()
    try:
        async with services.reading() as session:
            found = await find_traces(session, ids)
    except (SQLAlchemyError, OSError) as error:
        _log.info("a hint has no span: %s", type(error).__name__)
        return
    for trace in found.values():
        traces.past("hint", trace, began=began, ended=ended, queue=queue, together=len(ids))
