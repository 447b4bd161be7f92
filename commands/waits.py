"""waits: what a parked run waits for, in words that are true at this moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.databases import ReadSession
from store.locks import find_in_the_way
from store.runs import RunRow
from store.waits import WaitKind, WaitRow, find_waits, is_parked
from store.workers import find_missed

from .locks import sentence_of


@dataclass(frozen=True)
class Told:
    """One thing that a run waits for, as people read it; `subject` names it, for a task by its id."""

    kind: WaitKind
    detail: str
    subject: str
    since: datetime
    due_at: datetime | None


async def told_waits(session: ReadSession, runs: Sequence[RunRow]) -> dict[UUID, list[Told]]:
    """What each of these runs waits for, longest first; at a lock, who is before it now."""
    found: dict[UUID, list[Told]] = {one.id: [] for one in runs}
    for run in runs:
        if run.label and not is_parked(run) and (since := await find_missed(session, run.id)):
            found[run.id].append(Told(WaitKind.worker, f"no worker with the label {run.label} is running", "", since, None))
    by_id = {one.id: one for one in runs}
    for row in await find_waits(session, runs):
        found[row.run_id].append(await _told(session, by_id[row.run_id], row))
    return found


async def briefly(session: ReadSession, runs: Sequence[RunRow]) -> dict[UUID, str]:
    """In a few words what each of these runs waits for; those that do not wait are left out."""
    found = await told_waits(session, runs)
    return {run_id: "; ".join(one.detail for one in waits) for run_id, waits in found.items() if waits}


async def _told(session: ReadSession, run: RunRow, row: WaitRow) -> Told:
    detail = row.detail
    if row.kind == WaitKind.lock:
        ahead = await find_in_the_way(session, [row.subject], run_id=run.id)
        detail = sentence_of(ahead, seen_by=run) if ahead else f"its turn at {row.subject}"
    return Told(WaitKind(row.kind), detail, row.subject, row.since, row.due_at)
