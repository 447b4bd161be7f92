"""A file that a step leaves: its name, its type, its bytes. Pure, but for reading a file that the author names."""

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import StepFailed

MOST_BYTES: Final = 32 * 1024 * 1024
LONGEST_NAME: Final = 100
BINARY: Final = "application/octet-stream"
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+@=,()-]*[A-Za-z0-9_+@=)-])?\Z")
# RFC 9110, section 8.3.1: type "/" subtype *( ";" parameter ), without quoted values.
_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,60}/[A-Za-z0-9!#$&^_.+-]{1,60}(?:; ?[a-z0-9-]{1,20}=[A-Za-z0-9._-]{1,40})?\Z")


@dataclass(frozen=True)
class Artifact:
    """A file to keep: `content_type` says what it is, `text` its letters when its bytes are UTF-8 text."""

    name: str
    content: bytes
    content_type: str

    @property
    def text(self) -> str | None:
        if b"\0" in self.content:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None


def artifact_of(name: str, content: bytes | str | Path, content_type: str = "") -> Artifact:
    """The artifact; a path's file is read. Raises StepFailed for a name or type that cannot be kept and for more than 32 MiB."""
    if len(name) > LONGEST_NAME or not _NAME.match(name):
        raise StepFailed(
            f"an artifact cannot be named {name[:LONGEST_NAME]!r}: a name has letters, digits, spaces and ._+@=,()-, {LONGEST_NAME} at most"
        )
    found = content_type or mimetypes.guess_type(name)[0] or BINARY
    if not _TYPE.match(found):
        raise StepFailed(f"{found[:80]!r} is no content type for the artifact {name}; write for instance 'text/csv'")
    whole = _read(name, content) if isinstance(content, Path) else content.encode() if isinstance(content, str) else bytes(content)
    if len(whole) > MOST_BYTES:
        raise StepFailed(f"the artifact {name} has more than {MOST_BYTES // 1024**2} MiB; keep it elsewhere and log where")
    return Artifact(name, whole, found)


def _read(name: str, path: Path) -> bytes:
    """One byte more than may be kept, at most."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StepFailed(f"the artifact {name} cannot be read: {error.strerror or type(error).__name__}") from None
