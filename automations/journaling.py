"""A step's journal: progress and log lines, redacted, gathered and written at most four times a second under the worker's claim."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from countersign.artifacts import Artifact
from store.journals import Finished, LostClaim, StepKey, StepState, end_step, note_progress
from store.logs import LOG_LINES_KEPT, add_lines, call_readers

from .artifacts import keep
from .redactions import Redactor
from .services import Services

FLUSH_SECONDS: Final = 0.25
PROGRESS_SECONDS: Final = 0.5
LONGEST_LINE: Final = 4_000


async def write_end(services: Services, finished: Finished) -> None:
    """Records that a step is done; raises LostClaim."""
    await services.insist_alone(partial(end_step, key=finished.key, state=StepState.done, result=finished.result))


@dataclass
class StepJournal:
    """Implements `countersign.contexts.Journal`. A write after the claim is lost raises LostClaim, which ends the step here."""

    services: Services
    key: StepKey
    redactor: Redactor
    lines: list[str] = field(default_factory=list)
    kept: int = 0
    _flushed: float = 0.0
    _told: float = 0.0
    _last: Mapping[str, Any] = field(default_factory=lambda: {"done": 0, "total": 0, "note": ""})
    _later: "asyncio.Task[None] | None" = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def log(self, line: str) -> None:
        if self.kept >= LOG_LINES_KEPT:
            return
        self.kept += 1
        clean = self.services.redactor.clean(self.redactor.clean(line.replace("\0", "�")))[:LONGEST_LINE]
        self.lines.append(clean if self.kept < LOG_LINES_KEPT else f"… the log is full at {LOG_LINES_KEPT} lines")
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            await self.flush()
        elif self._later is None or self._later.done():
            self._later = asyncio.create_task(self._flush_later())

    async def progress(self, done: float, total: float, note: str) -> None:
        now = time.monotonic()
        if done < total and now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        shown = self.services.redactor.clean(self.redactor.clean(note))[:80]
        self._last = {"done": done, "total": total, "note": shown}
        await self._show(self._last)

    @asynccontextmanager
    async def saying(self, note: str) -> AsyncIterator[None]:
        """Shows for so long why nothing goes on, in the place of what was said last."""
        await self._show({**self._last, "note": note})
        yield
        await self._show(self._last)

    async def _show(self, progress: Mapping[str, Any]) -> None:
        async with self.services.transaction() as session:
            await note_progress(session, self.key, dict(progress))

    async def artifact(self, artifact: Artifact) -> None:
        await keep(self.services, self.key, self.redactor, artifact)

    async def _flush_later(self) -> None:
        """Who follows the log sees a line soon, also when the step says nothing more for long."""
        await asyncio.sleep(FLUSH_SECONDS)
        with contextlib.suppress(LostClaim, SQLAlchemyError, OSError):
            await self.flush()

    async def flush(self) -> None:
        """Writes what has gathered."""
        if not self.lines:
            return
        async with self._lock:
            lines, self.lines = self.lines, []
            self._flushed = time.monotonic()
            try:
                if lines:
                    async with self.services.transaction() as session:
                        await add_lines(session, self.key, lines)
            except (SQLAlchemyError, OSError):
                self.lines[:0] = lines
                raise
        with contextlib.suppress(SQLAlchemyError, OSError):  # whoever follows the log looks again by themselves
            async with self.services.statement() as session:
                await call_readers(session, self.key.run_id)

    async def close(self) -> None:
        """Writes what has gathered, after what is just being written; nothing is written later."""
        async with self._lock:
            pass
        await self.flush()
        if self._later is not None:
            self._later.cancel()
