"""Halts: the word that people leave for a run that has begun: stop, or do not begin the next step."""

from typing import Final
from uuid import UUID

from sqlalchemy import text

from countersign.runs import RunStatus

from .databases import WriteSession

BEGUN: Final = (RunStatus.running, RunStatus.undoing, RunStatus.waiting)


async def ask_to_cancel(session: WriteSession, run_id: UUID, *, by: str) -> bool:
    """Leaves word for the worker that holds this run; it stops between or inside steps. A run that waits has to be woken for it."""
    row = await session.execute(
        text("UPDATE runs SET cancelled_by = :by WHERE id = :id AND status = ANY(:begun) AND cancelled_by IS NULL RETURNING 1"),
        {"id": run_id, "by": by, "begun": list(BEGUN)},
    )
    return row.first() is not None


async def ask_to_pause(session: WriteSession, run_id: UUID, *, by: str | None) -> bool:
    """Leaves word that the next step is not to begin until somebody lets the run go on, or, with None, takes that word back."""
    row = await session.execute(
        text(
            "UPDATE runs SET paused_by = :by WHERE id = :id AND status IN ('running', 'waiting')"
            " AND (paused_by IS NULL) = (cast(:by AS text) IS NOT NULL) RETURNING 1"
        ),
        {"id": run_id, "by": by},
    )
    return row.first() is not None
