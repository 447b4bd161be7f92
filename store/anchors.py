"""Anchors: each sealed block is also told to a place outside Postgres, so that cutting or rewriting the database's record shows."""

import asyncio
import fcntl
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TextIO

from store.databases import ReadSession
from store.sealing import Block, find_blocks


class AnchorError(RuntimeError):
    """A block could not be anchored; the message is one sentence for the operator."""


class Anchor(Protocol):
    """A place that remembers blocks. It is told about a block after the commit that sealed it, never before."""

    def anchor(self, block: Block) -> None:
        """Remember the block durably. Blocks, so call it in a thread. Raises AnchorError."""


class FileAnchor:
    """A file that only grows, one JSON object per line; it belongs on another disk than the database.

    Several processes may share it. Raises AnchorError when it cannot be read and written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ahead: set[int] = set()
        self.last = 0
        """The number up to which every block is in the file; 0 when none is."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            with path.open("rb") as lines:
                for line in lines:
                    self._count(_number_in(line))
        except OSError as error:
            raise AnchorError(f"The anchor file {path} cannot be used: {error}") from error

    def anchor(self, block: Block) -> None:
        """Append the block, unless it is there, and return when it is on disk. Raises AnchorError."""
        if block.n <= self.last or block.n in self._ahead:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._append(line_of(block).encode())
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            raise AnchorError(f"Block {block.n} could not be written to the anchor file {self.path}: {error}") from error
        self._count(block.n)

    def close(self) -> None:
        """Give the file back; the anchor is of no use afterwards."""
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        # A crash or a full disk may have torn the line before. It is left as it is, because this file only grows: the same block
        # gives the same line again, and the verifier passes over a line that the next one begins with.
        size = os.fstat(self._file).st_size
        torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        rest = b"\n" * torn + line
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fsync(self._file)

    def _count(self, n: int | None) -> None:
        if n is not None and n > self.last:
            self._ahead.add(n)
        while self.last + 1 in self._ahead:
            self.last += 1
            self._ahead.remove(self.last)


class OutputAnchor:
    """The same lines on standard output, for whatever collects it elsewhere."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output

    def anchor(self, block: Block) -> None:
        """Write the block's line at once. Raises AnchorError."""
        try:
            self._output.write(line_of(block))
            self._output.flush()
        except OSError as error:
            raise AnchorError(f"Block {block.n} could not be written to standard output: {error}") from error


async def anchor_missing(session: ReadSession, anchor: FileAnchor) -> None:
    """Append every block that is in the database and not in the file, oldest first. Raises AnchorError.

    After a crash between the commit and the anchor, and for blocks that other hosts sealed.
    """
    after = anchor.last
    while blocks := await find_blocks(session, after=after):
        for block in blocks:
            await asyncio.to_thread(anchor.anchor, block)
        after = blocks[-1].n


def line_of(block: Block) -> str:
    """The JSON line that anchors a block, newline included; digests and signature in hexadecimal, `at` is when it was sealed."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=block.sealed_us)
    fields = {
        "n": block.n,
        "count": block.count,
        "root": block.root.hex(),
        "prev": block.prev.hex(),
        "digest": block.digest.hex(),
        "signature": block.signature.hex(),
        "at": at.isoformat(timespec="microseconds"),
    }
    return json.dumps(fields) + "\n"


def _number_in(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["n"])
    except (ValueError, TypeError, KeyError):
        return None
