"""What a script prints, made into log lines, progress and a result; secrets are taken out before anything is cut."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, Protocol

from countersign.canonical import canonical

Stream = Literal["stdout", "stderr"]

MAX_LINE: Final = 4096
MAX_LINES: Final = 10_000
MAX_RESULT: Final = 64 * 1024
_MAX_HELD: Final = 256 * 1024
_HIDDEN: Final = "••••••"
_PROGRESS = re.compile(r"::progress (\d{1,12}(?:\.\d{1,6})?)/(\d{1,12}(?:\.\d{1,6})?)(?: (.*))?\Z", re.ASCII)
_RESULT = "::result "
# Colours and cursor movements (ECMA-48 control sequences, and the xterm title), then every control character but the tab.
_SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class Reports(Protocol):
    """The part of a step's Context that output needs."""

    async def log(self, line: str) -> None: ...

    async def progress(self, done: float, total: float, note: str = "") -> None: ...


class Output:
    """Listens to one script. On standard output `::progress 3/10 note` shows progress and `::result {…}` says what the step returns (the
    last one counts, at most 64 KiB). Every other line of both streams is logged, and so is one of these that cannot be read: 4 KiB of each
    line, 10,000 lines at most.
    """

    def __init__(self, reports: Reports, secrets: Iterable[str] = ()) -> None:
        self.result: Mapping[str, Any] | None = None
        self._reports = reports
        self._secrets = tuple(sorted({one for secret in secrets for one in (secret, cleaned(secret)) if one}, key=len, reverse=True))
        self._rests: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        self._skipping: dict[Stream, bool] = {"stdout": False, "stderr": False}
        self._last: dict[Stream, str] = {"stdout": "", "stderr": ""}
        self._logged = 0

    async def heard(self, stream: Stream, data: bytes) -> None:
        """Takes the next bytes, of any length; lines may be split anywhere. Empty bytes end the stream."""
        *lines, rest = (self._rests[stream] + data).split(b"\n")
        for line in lines:
            await self._whole(stream, line)
        if (len(rest) > _MAX_HELD or not data) and rest:
            await self._whole(stream, rest)
            self._skipping[stream], rest = bool(data), b""
        self._rests[stream] = b"" if self._skipping[stream] else rest

    @property
    def last_line(self) -> str:
        """What the script said last, of its errors if it printed any; at most 200 characters."""
        return _cut(self._last["stderr"] or self._last["stdout"], 200)

    async def _whole(self, stream: Stream, raw: bytes) -> None:
        if self._skipping[stream]:
            self._skipping[stream] = False
            return
        line = self._redacted(raw.decode("utf-8", errors="replace"))
        # Again afterwards: taking a colour out of the middle of a secret puts the secret together.
        line = self._redacted(cleaned(line))
        if self._secrets and len(raw) > _MAX_HELD:
            # The line was cut where a secret may have begun; what could be its beginning is dropped.
            line = line[: -len(self._secrets[0])]
        if stream == "stdout" and (self._took_result(line) or await self._took_progress(line)):
            return
        self._last[stream] = line.strip() or self._last[stream]
        await self._log(_cut(line, MAX_LINE))

    async def _log(self, line: str) -> None:
        self._logged += 1
        if self._logged <= MAX_LINES:
            await self._reports.log(line)
        elif self._logged == MAX_LINES + 1:
            await self._reports.log(f"Only the first {MAX_LINES:,} lines are kept; the script goes on.")

    async def _took_progress(self, line: str) -> bool:
        match = _PROGRESS.match(line)
        if not match or not float(match[2]):
            return False
        await self._reports.progress(float(match[1]), float(match[2]), _cut(match[3] or "", 200))
        return True

    def _took_result(self, line: str) -> bool:
        if not line.startswith(_RESULT):
            return False
        try:
            result = json.loads(line.removeprefix(_RESULT))
            written = canonical(result)
        except (ValueError, RecursionError):
            return False
        # Postgres keeps no NUL in JSON (its documentation, "JSON Types"), and a result is read by people and later steps, not a data store.
        if not isinstance(result, dict) or len(written) > MAX_RESULT or rb"\u0000" in written:
            return False
        self.result = result
        return True

    def _redacted(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, _HIDDEN)
        return line


def cleaned(line: str) -> str:
    """The line without colours, and with a visible mark for every other control character."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _SEQUENCES.sub("", line.removesuffix("\r")))


def _cut(text: str, length: int) -> str:
    """At most `length` bytes of UTF-8, with a mark where something is missing."""
    if len(text.encode()) <= length:
        return text
    return text.encode()[: length - 3].decode(errors="ignore") + "…"
