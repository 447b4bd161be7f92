"""The files a script leaves in `$COUNTERSIGN_ARTIFACTS_DIR`, kept with the run when it has ended, however it did."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from countersign.artifacts import MOST_BYTES
from countersign.errors import StepFailed

VARIABLE: Final = "COUNTERSIGN_ARTIFACTS_DIR"
MOST_FILES: Final = 50
_HIDDEN: Final = "••••••".encode()


class Keeps(Protocol):
    """The part of a step's Context that keeping needs."""

    async def artifact(self, name: str, content: bytes, /) -> None: ...

    async def log(self, line: str) -> None: ...


async def keep_all(ctx: Keeps, folder: Path, secrets: Sequence[str]) -> None:
    """Keeps every file that stands directly in the folder. What cannot be kept is a line of the log: the script has done its work.

    The script's own secrets become dots, as in its output; the journal takes out those that the worker knows.
    """
    hidden = sorted({one.encode() for one in secrets if one}, key=len, reverse=True)
    for kept, (name, content) in enumerate(_left(folder)):
        if kept == MOST_FILES:
            await ctx.log(f"Only the first {MOST_FILES} files are kept.")
            return
        try:
            await ctx.artifact(name, _clean(name, content, hidden))
        except StepFailed as error:
            await ctx.log(f"{str(error)[:1].upper()}{str(error)[1:]}.")


def _left(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Names and bytes by name, or why there are none: only plain files count, no links, pipes or folders."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return  # the script removed the folder, or was ended and everything of it is gone
    for path in paths:
        yield path.name, _read(path)


def _read(path: Path) -> bytes | str:
    """Its bytes, one more than may be kept at most; or a reason."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return "it is not a plain file"
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MOST_BYTES + 1)


def _clean(name: str, content: bytes | str, hidden: Sequence[bytes]) -> bytes:
    if isinstance(content, str):
        raise StepFailed(f"{name.encode(errors='replace').decode()!r} was not kept: {content}")
    for one in hidden:
        if one in content and b"\0" in content:
            raise StepFailed(f"{name!r} was not kept: it holds a secret, and is no text from which that could be taken out")
        content = content.replace(one, _HIDDEN)
    return content
