"""The folders of a site: releases side by side, and one link per service and environment to the release that is served."""

import hashlib
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final
from uuid import uuid4

from countersign import StepFailed

PAGE: Final = "index.html"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


class Env(StrEnum):
    staging = "staging"
    prod = "prod"


class Site:
    """`releases/<service>/<version>/` is what was built; `<env>/<service>/current` is a link to one of these folders.

    A name that is not a plain lower-case word is never made into a path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def services(self) -> list[str]:
        """Every service that was ever built, by name."""
        return sorted(_folders(self.root / "releases"))

    def versions(self, service: str) -> list[str]:
        """The service's releases, `v2` before `v10`; none for an unknown service."""
        return sorted(_folders(self.root / "releases" / service), key=_by_number) if _NAME.match(service) else []

    def current(self, service: str, env: Env) -> str | None:
        """The version that is served, or None when nothing is; raises StepFailed if the link leads somewhere else."""
        link = self._link(service, env)
        try:
            target = link.readlink()
        except FileNotFoundError:
            return None
        except OSError:
            raise StepFailed(f"{link} should be a link to a release, but is none.") from None
        if (link.parent / target).resolve().parent != (self.root / "releases" / service).resolve():
            raise StepFailed(f"{link} leads to {target}, which is no release of {service}.")
        return target.name

    def folder(self, service: str, version: str) -> Path:
        """Where a release lies; raises StepFailed when there is no such release."""
        if version not in self.versions(service):
            raise StepFailed(f"There is no release {version} of {service}.")
        return self.root / "releases" / service / version

    def fingerprint(self, service: str, version: str) -> str:
        """SHA-256 over the names and bytes of a release's files: a release that was built again is another one."""
        folder = self.folder(service, version)
        digest = hashlib.sha256()
        for path in sorted(one for one in folder.rglob("*") if one.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    def point(self, service: str, env: Env, version: str) -> None:
        """Serves this release from now on. A visitor sees the old or the new one and never neither: the link is replaced in one move."""
        self.folder(service, version)
        if self.current(service, env) == version:
            return
        link = self._link(service, env)
        link.parent.mkdir(parents=True, exist_ok=True)
        beside = link.with_name(f".current-{uuid4()}")
        beside.symlink_to(Path("..", "..", "releases", service, version))
        try:
            beside.replace(link)
        finally:
            beside.unlink(missing_ok=True)

    def closed(self, service: str, env: Env) -> str | None:
        """What visitors are told while the service is in maintenance, or None when it is open."""
        try:
            return (self.root / env / service / "maintenance").read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def _link(self, service: str, env: Env) -> Path:
        if not _NAME.match(service):
            raise StepFailed("A service is a lower-case word, such as api.")
        return self.root / env / service / "current"


def _folders(parent: Path) -> Iterator[str]:
    if parent.is_dir():
        yield from (one.name for one in parent.iterdir() if _NAME.match(one.name) and one.is_dir())


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
