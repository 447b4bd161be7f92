"""Slates: what a worker process writes down for the one after it: which calls it has made, and how they ended.

A slate is a file without a name that the supervisor opened before it forked. It outlives the process however that dies, because what was
written is the kernel's, and neither the supervisor nor the machine. No call is made that is not on it, so a step that a dead process had
begun and that is not on its slate was not called; the journal in Postgres, which is a commit behind, could not say so.
"""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final
from uuid import UUID

from store.journals import Phase, StepKey

_log = logging.getLogger(__name__)
LONGEST_LINE: Final = 262_144
ROOM: Final = 262_144
_ROOMY: Final = 4
"""How many times what still matters a slate may hold before it is written anew."""

End = Mapping[str, Any]


@dataclass(frozen=True)
class LastWords:
    """What a process left behind: its name, and of each call that it had made how it ended; None where nobody knows."""

    worker: str
    calls: Mapping[StepKey, End | None]


class Slate:
    """One process writes, on its event loop; the next one in its slot reads first. Without a file nothing outlives the process."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file
        self._head = b""
        self._size = 0
        self._calls: dict[StepKey, End | None] = {}
        self._lengths: dict[StepKey, int] = {}
        self._matters = 0

    @classmethod
    def blank(cls) -> "Slate":
        """One with a file, for processes that are forked later; without one where there is no room for temporary files."""
        try:
            return cls(tempfile.TemporaryFile(buffering=0))
        except OSError as error:
            _log.warning("workers can leave no words behind: %s", error)
            return cls()

    def begin(self, worker: str) -> None:
        """Wipes it and signs it: from now on every call of this worker is on it."""
        self._calls.clear()
        self._lengths.clear()
        self._matters = 0
        self._head = json.dumps(worker).encode() + b"\n"
        self._write_anew()

    def call(self, key: StepKey) -> None:
        """The call is made as soon as this has returned."""
        self._add(key, None)

    def end(self, key: StepKey, **end: Any) -> None:
        """How the call ended: what the journal is about to be told."""
        self._add(key, end)

    def ended(self, run_id: UUID) -> dict[StepKey, End]:
        """The calls of a run whose end is known."""
        return {key: end for key, end in self._calls.items() if key.run_id == run_id and end is not None}

    def forget(self, run_id: UUID) -> None:
        """The run is in nobody's hands, or in somebody else's."""
        for key in [key for key in self._calls if key.run_id == run_id]:
            del self._calls[key]
            self._matters -= self._lengths.pop(key, 0)

    def read(self) -> LastWords | None:
        """The words of the process that wrote last; None when there are none that can be relied on. A line cut off was not written."""
        if self._file is None:
            return None
        size = os.fstat(self._file.fileno()).st_size
        head, *lines = os.pread(self._file.fileno(), size, 0).split(b"\n")[:-1] or [b""]
        try:
            return LastWords(json.loads(head), dict(_said(line) for line in lines if line))
        except (ValueError, TypeError):
            return None

    def _add(self, key: StepKey, end: End | None) -> None:
        self._calls[key] = end
        if self._file is None or not self._head:
            return
        line = _line(key, end)
        self._matters += len(line) - self._lengths.get(key, 0)
        self._lengths[key] = len(line)
        if self._size > ROOM and self._size > _ROOMY * self._matters:
            self._write_anew()
        else:
            self._write(line, self._size)
            self._size += len(line)

    def _write_anew(self) -> None:
        """The name goes on it last: whoever reads before that relies on nothing."""
        if self._file is None:
            return
        os.ftruncate(self._file.fileno(), 0)
        lines = b"".join(_line(*one) for one in self._calls.items())
        self._size = len(self._head) + len(lines)
        self._write(lines, len(self._head))
        self._write(self._head, 0)

    def _write(self, data: bytes, at: int) -> None:
        """What cannot be written makes all of it worthless, as it would then lack a call."""
        assert self._file is not None  # noqa: S101  asked by who calls this
        try:
            written = os.pwrite(self._file.fileno(), data, at)
        except OSError as error:
            _log.warning("a worker can leave no words behind: %s", error)
            written = -1
        if written != len(data):
            self._head = b""
            os.ftruncate(self._file.fileno(), 0)


def _line(key: StepKey, end: End | None) -> bytes:
    """An end that is too long to keep is left open."""
    called = [str(key.run_id), key.revision, key.position, key.phase, key.attempt]
    line = json.dumps([*called, end], separators=(",", ":")).encode() + b"\n"
    return line if end is None or len(line) <= LONGEST_LINE else _line(key, None)


def _said(line: bytes) -> tuple[StepKey, End | None]:
    run_id, revision, position, phase, attempt, end = json.loads(line)
    return StepKey(UUID(run_id), revision, position, Phase(phase), attempt), end
