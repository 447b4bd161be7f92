"""Crash points: a process that passes one may be killed there, before or after a commit. Laid from outside; the hub knows nothing of it."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

import greenlet  # type: ignore[import-untyped]
from sqlalchemy.engine.default import DefaultDialect

from store import beginnings, journals

Found = TypeVar("Found")
Write = Callable[[Any, str, dict[str, Any]], Coroutine[Any, Any, Found]]
ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = ("automations", "bot", "commands", "store")
EAGER: Final = 20
"""How many times likelier a crash point goes off that has not gone off yet, so that rare ones do as well."""
_WRITING: Final = ("INSERT ", "UPDATE ", "DELETE ")


@dataclass
class Field:
    """The crash points of a process and of those that it forks; each draws its own lots."""

    file: Path
    rate: float
    seed: int
    _pid: int = 0
    _dice: random.Random = field(default_factory=random.Random)
    _gone_off: Counter[str] = field(default_factory=Counter)

    def pass_by(self, when: str) -> None:
        """Dies here, or does not."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._dice = random.Random(f"{self.seed} {self._pid}")
            self._gone_off = Counter(self.file.read_text().splitlines()) if self.file.exists() else Counter()
        lot = self._dice.random()
        if lot > self.rate * EAGER:
            return
        place = f"{when} {_place()}"
        if lot < self.rate or not self._gone_off[place]:
            with self.file.open("a") as out:
                out.write(f"{place}\n")
            os.kill(os.getpid(), signal.SIGKILL)


def lay(mines: Field) -> None:
    """From now on this process dies at about this share of its commits, and writes where to the file."""
    commit, execute = DefaultDialect.do_commit, DefaultDialect.do_execute

    def do_commit(self: DefaultDialect, connection: Any) -> None:
        mines.pass_by("before the commit of")
        commit(self, connection)  # type: ignore[no-untyped-call]
        mines.pass_by("after the commit of")

    def do_execute(self: DefaultDialect, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        alone = _commits_by_itself(statement, context)
        if alone:
            mines.pass_by("before the statement of")
        execute(self, cursor, statement, parameters, context)  # type: ignore[no-untyped-call]
        if alone:
            mines.pass_by("after the statement of")

    # These statements go to the driver itself.
    for module, name in ((journals, "_first"), (beginnings, "_rows")):
        setattr(module, name, _mined(mines, getattr(module, name)))
    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
    DefaultDialect.do_execute = do_execute  # type: ignore[method-assign]


def _mined(mines: Field, write: "Write[Found]") -> "Write[Found]":
    async def mined(through: Any, statement: str, values: dict[str, Any]) -> Found:
        mines.pass_by("before the statement of")
        found = await write(through, statement, values)
        mines.pass_by("after the statement of")
        return found

    return mined


def _commits_by_itself(statement: str, context: Any) -> bool:
    """Whether this statement is a transaction of its own that writes."""
    if context is None or not any(word in statement for word in _WRITING):
        return False
    return bool(getattr(context.root_connection.connection.dbapi_connection, "autocommit", False))


def _place() -> str:
    """The function of ours that asked for it, on whichever greenlet SQLAlchemy has left it."""
    current: Any = greenlet.getcurrent()
    frame: FrameType | None = sys._getframe(1)
    while current is not None:
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in ROOMS and path.name != "databases.py":
                return f"{path.relative_to(ROOT).as_posix()} {frame.f_code.co_name}"
            frame = frame.f_back
        current = current.parent
        frame = current.gr_frame if current is not None else None
    return "elsewhere"
