"""What waits for the caller's decision."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends

from commands.inboxes import Inbox, Review, Waiting, reviews_for, waiting_for
from commands.tasks import Task, tasks_for
from store.audiences import Place
from store.databases import ReadSession

from .callers import READ, Caller, caller_with
from .pages import After, Limit, numbers_in, page
from .stories import summary_of
from .tasks import task_as_json

router = APIRouter(prefix="/inbox", tags=["runs"])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LOWER = 2**62 - 1
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


@router.get("")
async def inbox(caller: Annotated[Caller, Depends(caller_with(READ))], limit: Limit = 50, cursor: After = None) -> dict[str, Any]:
    """What you may decide now and have not, the most urgent first; go on until `next` is null.

    With the first page `reviews` wait for your review, and `tasks` are asked of you.
    """
    start = numbers_in(cursor, count=3)
    after = Place(_EPOCH + min(start[0], _LAST) * _MICROSECOND, _joined(*start[1:])) if start else None
    rulebook = await caller.hub.rulebook()

    async def find(session: ReadSession) -> tuple[Inbox, list[Review], list[Task]]:
        found = await waiting_for(session, rulebook, caller.person, limit=limit, after=after)
        if after:
            return found, [], []
        return found, await reviews_for(session, rulebook, caller.person), await tasks_for(session, rulebook, caller.person, limit=limit)

    found, reviews, tasks = await caller.hub.read(find)
    more = ((found.more.expires_at - _EPOCH) // _MICROSECOND, *_halves(found.more.run_id)) if found.more else None
    items = page([_as_json(one) for one in found.waiting], more)
    return items | {"reviews": [_review_as_json(one) for one in reviews], "tasks": [task_as_json(one) for one in tasks]}


def _halves(run_id: UUID) -> tuple[int, int]:
    """The id as two numbers for a cursor, which holds none above 2^63; ids of ours are UUIDv7, so that two bits say nothing."""
    return run_id.int >> 64, run_id.int & _LOWER


def _joined(upper: int, lower: int) -> UUID:
    return UUID(int=upper << 64 | 1 << 63 | lower)


def _as_json(one: Waiting) -> dict[str, Any]:
    return summary_of(one.run) | {
        "digest": one.request.digest,
        "expires_at": one.request.expires_at.isoformat(),
        "missing": one.missing,
        "on_behalf": one.on_behalf,
        "step_up": one.ballot.rule.step_up,
    }


def _review_as_json(one: Review) -> dict[str, Any]:
    return summary_of(one.run) | {"since": one.row.opened_at.isoformat()}
