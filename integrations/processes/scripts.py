"""The bytes of a runbook's scripts: taken once when it is loaded, named by their hash, laid out again for every run."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countersign.arguments import Duration
from countersign.canonical import digest_of
from countersign.errors import StepFailed

MAX_BYTES: Final = 16 * 1024 * 1024
_HELD: Final[dict[str, "Bundle"]] = {}


@dataclass(frozen=True)
class File:
    content: bytes
    executable: bool


@dataclass(frozen=True)
class Bundle:
    """Everything a runbook's code version covers, and the two facts of its YAML that running needs."""

    runbook: str
    declared: bytes
    files: Mapping[str, File]
    timeout: Duration
    environment: Mapping[str, str]

    @property
    def code_version(self) -> str:
        """SHA-256 over the YAML's and every file's name, bytes and whether it may be executed; computed from the bytes each time."""
        files = {name: [_sha256(one.content), one.executable] for name, one in self.files.items()}
        return digest_of({"runbook": [self.runbook, _sha256(self.declared)], "files": files})


def hold(bundle: Bundle) -> str:
    """Keeps the bundle for the life of this process, beside older versions that runs may still need; returns its code version."""
    code = bundle.code_version
    _HELD[code] = bundle
    return code


def held(code: str, *, script: str) -> Bundle:
    """The bundle with exactly this code version; raises StepFailed when this process has none."""
    bundle = _HELD.get(code)
    if bundle is None or bundle.code_version != code:
        raise StepFailed(f"{script} is not here in the approved version {code[:12]}; nothing was started")
    return bundle


@contextmanager
def laid_out(bundle: Bundle) -> Iterator[Path]:
    """A fresh folder that only this user may enter, with a read-only copy of the files; deleted at the end."""
    home = Path(tempfile.mkdtemp(prefix="countersign-")).resolve()
    try:
        for name, one in sorted(bundle.files.items()):
            _write(home / name, one)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as copy:
        copy.write(file.content)
        os.fchmod(copy.fileno(), 0o500 if file.executable else 0o400)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
