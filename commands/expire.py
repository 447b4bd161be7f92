"""expire: requests nobody decided in time end as expired; the sweep asks for this."""

from collections.abc import Sequence
from uuid import UUID

from countersign.runs import RunStatus
from store.approvals import close_request, lock_request
from store.databases import WriteSession
from store.runs import Move, move


async def expire(session: WriteSession, run_ids: Sequence[UUID]) -> int:
    """Expires the open requests of these runs; returns how many there were."""
    count = 0
    for run_id in run_ids:
        request = await lock_request(session, run_id)
        if request is None or not await close_request(session, request.id, state="expired"):
            continue
        wanted = Move(
            run_id,
            RunStatus.expired,
            by="countersign",
            because="nobody decided in time",
            outcome="Nobody decided in time, so it counts as denied.",
            come_from=(RunStatus.awaiting_approval,),
        )
        count += len(await move(session, [wanted]))
    return count
