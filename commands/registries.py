"""Which commands there are: entry points, a folder of Python files, and whatever entry points load from settings (runbooks)."""

import functools
import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rapidfuzz import process

from countersign.commands import STEPS, Command
from countersign.steps import StepFunction

GROUP: Final = "countersign.commands"
OWN: Final = "countersign-server"
MOST_SLASH_NAMES: Final = 48  # Slack allows 50 in a manifest; /countersign and /cs are two of them
_log = logging.getLogger(__name__)


class RegistryError(Exception):
    """The commands cannot be used together; the message names the command, its file and the fix."""


@dataclass(frozen=True)
class Registry:
    """The commands by name; made once, replaced whole on reload. `steps` are those of the same code, whatever is loaded later."""

    commands: Mapping[str, Command]
    steps: Mapping[str, StepFunction[..., Any]] = field(default_factory=dict)

    def find(self, name: str) -> Command | None:
        return self.commands.get(name)

    def nearest(self, name: str, *, among: Iterable[str]) -> list[str]:
        """At most three names that look like this one, the nearest first."""
        return [match[0] for match in process.extract(name, list(among), limit=3, score_cutoff=60)]

    @property
    def versions(self) -> tuple[str, ...]:
        """Every code version this process can plan and execute."""
        return tuple(sorted({one.code_version for one in self.commands.values()}))

    @property
    def slash_names(self) -> tuple[str, ...]:
        return tuple(name for name, one in sorted(self.commands.items()) if one.slash)


def load_own() -> None:
    """Imports the commands that the hub itself brings, for processes forked from this one; anybody else's are left for them to import."""
    for point in entry_points(group=GROUP):
        if point.dist is not None and point.dist.name == OWN and isinstance(loaded := point.load(), ModuleType):
            _package_version(loaded)


@functools.cache
def installed() -> tuple[EntryPoint, ...]:
    """By name. Looked for once: what is installed later is not what this process runs, and looking costs 7 ms."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda one: one.name))


def load_registry(*, folder: Path | None, runbooks: Path | None) -> Registry:
    """Loads every command; raises RegistryError for a duplicate name or too many slash names, TypeError for a wrong command."""
    found: dict[str, Command] = {}
    for command in _all_commands(folder=folder, runbooks=runbooks):
        if other := found.get(command.name):
            raise RegistryError(f"command {command.name!r} is defined twice, in {other.origin} and {command.origin}; rename one of them")
        found[command.name] = command
    registry = Registry(found, dict(STEPS))
    if len(registry.slash_names) > MOST_SLASH_NAMES:
        raise RegistryError(f"{len(registry.slash_names)} commands say slash=True; Slack leaves room for {MOST_SLASH_NAMES}")
    return registry


def _all_commands(*, folder: Path | None, runbooks: Path | None) -> Iterator[Command]:
    for point in installed():
        yield from _from_entry_point(point, runbooks)
    for path in sorted(folder.glob("*.py")) if folder else ():
        yield from _from_file(path)


def _from_entry_point(point: EntryPoint, runbooks: Path | None) -> Iterator[Command]:
    """An entry point names a module, a list of commands, or a loader that is given the runbook folder."""
    loaded = point.load()
    if isinstance(loaded, ModuleType):
        version = _package_version(loaded)
        yield from (one.versioned(version) for one in _commands_in(vars(loaded).values()))
    elif callable(loaded):
        loader: Callable[[Path], Iterable[Command]] = loaded
        yield from loader(runbooks) if runbooks else ()
    else:
        raise RegistryError(f"entry point {point.name!r} should name a module with commands or a loader, not {type(loaded).__name__}")


def _from_file(path: Path) -> Iterator[Command]:
    body = path.read_bytes()
    name = f"countersign_folder_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RegistryError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield from (one.versioned(hashlib.sha256(body).hexdigest()) for one in _commands_in(vars(module).values()))


def _commands_in(values: Iterable[Any]) -> Iterator[Command]:
    """Commands directly or in lists, each once, in the order they stand."""
    seen: set[int] = set()
    for value in values:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, Command) and id(one) not in seen:
                seen.add(id(one))
                yield one


@functools.cache
def _package_version(module: ModuleType) -> str:
    """SHA-256 over the Python files of the module's package, names included: the author's code and nobody else's.

    Read once, at the import: a file that is replaced later is not what this process runs.
    """
    file = Path(module.__file__ or "")
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = hashlib.sha256()
    for one in files:
        digest.update(str(one.relative_to(file.parent)).encode() + b"\0" + one.read_bytes() + b"\0")
    return digest.hexdigest()


class Reloader:
    """Keeps the last good registry and replaces it when files of the folder or the runbooks change."""

    def __init__(self, registry: Registry, *, folder: Path | None, runbooks: Path | None) -> None:
        self._folder, self._runbooks = folder, runbooks
        self._seen = self._stamps()
        self.registry = registry

    def refresh(self) -> bool:
        """Loads again if a file changed; a registry that does not load is logged and the last good one stays."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        try:
            self.registry = load_registry(folder=self._folder, runbooks=self._runbooks)
        except (Exception, SystemExit) as error:  # the second is a script that was saved here, not the end of this process
            _log.warning("commands were not reloaded: %s: %s", type(error).__name__, error)
            return False
        return True

    def _stamps(self) -> dict[str, int]:
        folders = [one for one in (self._folder, self._runbooks) if one]
        files = (path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts and path.is_file())
        return {str(path): path.stat().st_mtime_ns for path in files}  # without what loading them leaves beside them
