"""Provings: when each undo of a command last worked, so that whoever approves knows whether it ever did."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from .bases import Base
from .databases import ReadSession, WriteSession

Proven = Mapping[tuple[str, str], float]
"""Seconds since an undo last worked, by the names of the step and of its undo."""


class ProvingRow(Base):
    __tablename__ = "provings"

    command: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    undo: Mapped[str] = mapped_column(primary_key=True)
    proven_at: Mapped[datetime]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"))


_PROVEN: Final = text(
    "SELECT command, step, undo, extract(epoch FROM countersign_now() - proven_at) AS ago FROM provings WHERE command = ANY(:commands)"
)
_PROVE: Final = text(
    "INSERT INTO provings (command, step, undo, proven_at, run_id) VALUES (:command, :step, :undo, countersign_now(), :run)"
    " ON CONFLICT (command, step, undo) DO UPDATE SET proven_at = excluded.proven_at, run_id = excluded.run_id"
)


async def prove_undo(session: WriteSession, *, command: str, step: str, undo: str, run_id: UUID) -> None:
    """The undo of this step of this command has just worked, in this run."""
    await session.execute(_PROVE, {"command": command, "step": step, "undo": undo, "run": run_id})


async def find_proven(session: ReadSession, commands: Collection[str]) -> dict[str, Proven]:
    """The undos of each of these commands that have ever worked."""
    found: dict[str, dict[tuple[str, str], float]] = {one: {} for one in commands}
    for row in await session.execute(_PROVEN, {"commands": list(commands)}) if commands else ():
        found[row.command][row.step, row.undo] = float(row.ago)
    return dict(found)
