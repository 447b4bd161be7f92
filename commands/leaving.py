"""leaving: what somebody left behind who was deactivated, by whichever source; the sweep asks for this every second."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from countersign.runs import RunStatus
from countersign.tallies import Outcome
from store.approvals import call_for_tending, close_request, lock_request, reopen_request, take_back
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession
from store.rosters import end_tokens, take_leavers
from store.runs import Move, find_run, move

from .decide import refresh_cards
from .rulebooks import Rulebook
from .voting import read_ballot

BATCH: Final = 20
_NOT_BEGUN: Final = (
    RunStatus.submitted,
    RunStatus.planning,
    RunStatus.awaiting_approval,
    RunStatus.queued,
    RunStatus.stale,
    RunStatus.waiting,
)


async def settle_leavers(session: WriteSession, rulebook: Rulebook) -> list[str]:
    """Ends tokens, cancels what was asked and not begun, and takes approvals back of people who left; returns their names.

    A run under way stops before its next step by itself, because the asker's right is asked again there.
    """
    names = await take_leavers(session, limit=BATCH)
    for name in names:
        await end_tokens(session, [name])
        cancelled = await _cancel(session, name)
        lost = await _lose_approvals(session, rulebook, name)
        detail = {"cancelled": cancelled, "approvals": lost}
        await record(session, [AuditEvent("person:let_go", name, None, detail)])
    return names


async def _cancel(session: WriteSession, name: str) -> list[int]:
    """Cancels the runs that have not begun; returns their numbers."""
    numbers = []
    for run_id in await _asked(session, name):
        request = await lock_request(session, run_id)
        said = f"{name} does not belong to this company any more, so this will not happen; nothing was done."
        wanted = Move(run_id, RunStatus.cancelled, by="countersign", because=f"{name} left", outcome=said, come_from=_NOT_BEGUN)
        if await move(session, [wanted]):
            if request is not None:
                await close_request(session, request.id, state="superseded")
            run = await find_run(session, run_id)
            numbers.append(run.number if run else 0)
    return numbers


async def _lose_approvals(session: WriteSession, rulebook: Rulebook, name: str) -> list[int]:
    """Takes the approvals back that have not led to anything yet; returns the numbers of the runs."""
    numbers = []
    for run_id in await _approved(session, name):
        request = await lock_request(session, run_id)
        run = await find_run(session, run_id)
        if request is None or run is None or await take_back(session, request.id, person=name) is None:
            continue
        detail = {"request": str(request.id), "because": f"{name} left"}
        await record(session, [AuditEvent("decision:lost", name, run_id, detail)])
        numbers.append(run.number)
        if request.state == "open":
            await call_for_tending(session, request.id)
        elif (await read_ballot(session, rulebook, request, run)).tally().outcome is not Outcome.approved:
            await _ask_again(session, run_id, request.id, name)
        await refresh_cards(session, run_id)
    return numbers


async def _ask_again(session: WriteSession, run_id: UUID, request_id: UUID, name: str) -> None:
    """The run goes back to those who decide, or is cancelled when the time to decide is over."""
    because = f"{name}, who approved it, left"
    if await reopen_request(session, request_id):
        wanted = Move(run_id, RunStatus.awaiting_approval, by="countersign", because=because, come_from=(RunStatus.queued,))
    else:
        said = f"{because}, and the time to decide is over; nothing was done."
        wanted = Move(run_id, RunStatus.cancelled, by="countersign", because=because, outcome=said, come_from=(RunStatus.queued,))
    await move(session, [wanted])


async def _asked(session: ReadSession, name: str) -> Sequence[UUID]:
    rows = await session.execute(
        text("SELECT id FROM runs WHERE asker = :name AND status = ANY(:statuses) ORDER BY number"),
        {"name": name, "statuses": list(_NOT_BEGUN)},
    )
    return list(_ids(rows))


async def _approved(session: ReadSession, name: str) -> Sequence[UUID]:
    """Runs that wait for a decision or for a worker and that this person approved; what has begun or ended is not read."""
    rows = await session.execute(
        text(
            "SELECT DISTINCT d.run_id AS id FROM (SELECT run_id FROM approval_requests WHERE state = 'open'"
            " UNION SELECT id FROM runs WHERE status = 'queued' AND due_at IS NOT NULL UNION SELECT run_id FROM holds) w"
            " JOIN decisions d ON d.run_id = w.run_id WHERE d.person = :name AND d.verdict = 'approve' AND d.withdrawn_at IS NULL"
        ),
        {"name": name},
    )
    return list(_ids(rows))


def _ids(rows: Any) -> Iterator[UUID]:
    return (row.id for row in rows)
