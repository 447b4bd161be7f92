"""Panes: what a page tells as facts or as a table, and links to forms of commands for whoever may run them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.authorizing import Request as Wanted
from commands.authorizing import is_admin, is_auditor
from countersign.invocations import Door, Place
from store.audits import AuditEvent

from .frames import Frame
from .pages import framed_page


@dataclass(frozen=True)
class Cell:
    """A piece of text, with an address if it leads somewhere, a tone if it is good or bad, or a moment instead of text."""

    text: str = ""
    href: str = ""
    tone: str = ""
    at: datetime | None = None
    code: bool = False


Value = str | int | datetime | Cell | Sequence[Cell] | None


@dataclass(frozen=True)
class Pane:
    """A table with a head, or facts, whose first cell is what they are called. `empty` is said when there is nothing."""

    title: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Value]] = ()
    empty: str = ""
    aside: str = ""
    links: Sequence[Cell] = ()

    @property
    def cells(self) -> list[list[Sequence[Cell]]]:
        return [[_cells(one) for one in row] for row in self.rows]


class Asking:
    """Links to the forms of commands: empty for what this person may not run."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        wanted = Wanted(permission="countersign:use", door=Door.browser, place=Place("console"))
        self._names = {one.name for one in frame.rulebook.commands_for(frame.here.visitor.person, wanted)}

    def link(self, words: str, command: str, **given: str) -> tuple[Cell, ...]:
        """One link, with these answers filled in."""
        if command not in self._names:
            return ()
        answers = {f"a.{name}": value for name, value in given.items()}
        return (Cell(words, self.frame.here.link("/ask", command=command, **answers)),)


def panes_page(request: Request, frame: Frame, title: str, panes: Iterable[Pane], **more: Any) -> Response:
    """A page that is a heading, tabs if there are any, and panes."""
    values = {"tabs": {}, "tab": "", "lead": "", "form": None} | more
    return framed_page(request, "panes.html", frame, title=title, panes=list(panes), **values)


def plainly(code: str) -> str:
    """A word of programs as people say it; what is a sentence already stays as it is."""
    return _PLAIN.get(code) or (code.replace("_", " ") if _CODE.fullmatch(code) else code)


def reads_all(frame: Frame) -> bool:
    """Whether this person may see what concerns everybody: admins and auditors."""
    policy, person = frame.rulebook.policy, frame.here.visitor.person
    return is_admin(policy, person) or is_auditor(policy, person)


async def refuse(request: Request, frame: Frame, sentence: str) -> Problem:
    """Records that somebody asked for a page that is not for them; the problem to raise."""
    hub: Hub = request.app.state.hub
    visitor = frame.here.visitor
    detail = {"reason": "missing_permission", "door": Door.browser.value, "trace": visitor.trace, "target": frame.here.path}
    await hub.record([AuditEvent("request:refused", visitor.person.name, None, detail)])
    return Problem(403, "missing_permission", sentence)


_CODE: Final = re.compile("[a-z]+(?:_[a-z]+)+")
_PLAIN: Final[Mapping[str, str]] = {
    "webhook_denied": "not proved to come from its sender",
    "content_type": "not JSON, nor a form",
}


def _cells(value: Value) -> Sequence[Cell]:
    if value is None:
        return ()
    if isinstance(value, Cell):
        return (value,)
    if isinstance(value, datetime):
        return (Cell(at=value),)
    if isinstance(value, str | int):
        return (Cell(str(value)),)
    return value
