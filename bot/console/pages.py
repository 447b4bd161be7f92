"""Pages and their parts, rendered by the server. Every text that a person or a program wrote is escaped."""

import hashlib
import mimetypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bot.rooms import Message
from commands.storywords import STATES, asked
from countersign.commands import Command
from countersign.replies import Card, Form, Reply
from countersign.runs import RunStatus
from store.runs import RunRow

from .frames import Frame, Here

_FOLDER: Final = Path(__file__).parent
# A request with this header comes from our script, which wants a part of the page and not all of it.
PART_HEADER: Final = "countersign-part"
MOST_LIVE: Final = 500
_LIVE: Final[dict[tuple[str, str, UUID, int], str]] = {}
_NOT_PAGES: Final = ("/api/", "/scim/", "/live", "/ready", "/metrics", "/slack/")


@dataclass(frozen=True)
class Said:
    """What was answered to this reader alone, and what they had typed. `typed` is put back into the line when nothing came of it."""

    reply: Reply
    form: Form | None = None
    echo: str = ""
    typed: str = ""
    bad: bool = False
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """What the room shows."""

    here: Here
    channels: Sequence[str]
    messages: Sequence[Message]
    commands: Sequence[Command]
    said: Said | None = None
    form: Form | None = None

    @property
    def cursor(self) -> int:
        """Where the live stream begins: at the last change that is on the page, or at the beginning of an empty one."""
        return max((one.cursor for one in self.messages), default=0)


def framed_page(request: Request, template: str, frame: Frame, *, status: int = 200, **values: Any) -> Response:
    """A page in the console's frame; our script, which has the frame already, gets what is inside its `region` block."""
    known = {
        "moment": frame.moment,
        "here": frame.here,
        "sections": frame.sections,
        "section": frame.section,
        "stopped": frame.stopped,
        **values,
    }
    if PART_HEADER in request.headers and request.method == "GET":
        return HTMLResponse(region_part(template, **known), status)
    return _page(template, status, **known)


def region_part(template: str, **values: Any) -> str:
    """What is inside the `region` block of a page."""
    found = _ENVIRONMENT.get_template(template)
    return "".join(found.blocks["region"](found.new_context(values)))


def row_part(here: Here, run: RunRow) -> Markup:
    """A run's row in a list."""
    row = _ENVIRONMENT.get_template("rowparts.html").module
    return Markup(row.run(here, run, asked(run), STATES[RunStatus(run.status)]))  # type: ignore[attr-defined]  # noqa: S704  a macro's


def item_part(here: Here, run: RunRow, card: Card, *, until: datetime | None, on_behalf: str, pick: str) -> str:
    """A run's item in an inbox, as the page itself has it; `pick` is what its checkbox sends, if it may be decided with others."""
    one = {"run": run, "card": card, "on_behalf": on_behalf, "pick": pick} | ({} if until is None else {"until": until})
    return str(_ENVIRONMENT.get_template("rowparts.html").module.item(here, one))  # type: ignore[attr-defined]


def room_page(view: View, frame: Frame, *, status: int = 200) -> Response:
    """The chat room."""
    return _page("room.html", status, view=view, here=frame.here, sections=frame.sections, section=frame.section, stopped=frame.stopped)


def message_part(here: Here, one: Message) -> str:
    return str(_parts().message(here, one))


def live_part(here: Here, one: Message) -> str:
    """The message for a stream; made once for all who see the same. The reader's script puts their own token into its forms."""
    if here.visitor.cast:  # a demo's links say who acts
        return message_part(here, one)
    key = (here.channel, here.zone.key, one.id, one.cursor)
    if key not in _LIVE:
        _LIVE[key] = message_part(here.for_all, one)
        while len(_LIVE) > MOST_LIVE:
            _LIVE.pop(next(iter(_LIVE)))
    return _LIVE[key]


def stopped_part(sentences: Sequence[str]) -> str:
    """What the kill switches say, above everything else; empty while none is on."""
    return str(_parts().stopped(sentences))


def said_part(here: Here, said: Said) -> Response:
    """The answer alone, for the script to put where it belongs; 422 when nothing came of the request."""
    return HTMLResponse(str(_parts().said(here, said)), 422 if said.bad else 200)


def enter_page(*, alive: bool) -> Response:
    """The page of a one-time link: one button, because programs that look at links in messages must not use it up."""
    return _page("enter.html", 200 if alive else 410, alive=alive)


def sign_in_page(*, then: str, sso: bool, problem: str = "", status: int = 200, goodbye: str = "") -> Response:
    """Where somebody signs in who has no session, or whose login is too old for what they decide.

    `sso` says whether there is single sign-on, `goodbye` where the session with the issuer ends.
    """
    return _page("signin.html", status, then=then, sso=sso, problem=problem, goodbye=goodbye)


def moving_page(then: str) -> Response:
    """Leads on to another page of ours by itself."""
    return _page("moving.html", 200, then=then)


_TITLES: Final = {
    400: "That cannot be done",
    401: "Sign in first",
    403: "Not for you",
    404: "There is nothing here",
    409: "It has changed",
    410: "That is over",
    422: "That cannot be read",
    429: "Too often",
    500: "Something broke",
    503: "Not now",
}


def problem_page(request: Request, status: int, sentence: str) -> Response:
    """What went wrong and what to do, with what was typed."""
    if PART_HEADER in request.headers:
        return HTMLResponse(str(_parts().problem(sentence)), status)
    state = request.scope.get("state", {})
    values = {"sentence": sentence, "typed": str(state.get("typed", "")), "trace": state.get("trace", "")}
    return _page("problem.html", status, signed_out=status == 401, title=_TITLES.get(status, HTTPStatus(status).phrase), **values)


def is_page(request: Request) -> bool:
    """Whether a person with a browser asks, rather than a program."""
    return not request.url.path.startswith(_NOT_PAGES)


def static_file(name: str) -> Response | None:
    """A file of the page, under a name that changes with its content."""
    found = _STATIC.get(name)
    if found is None:
        return None
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(found, media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})


def _page(template: str, status: int, **values: Any) -> Response:
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(**values), status)


def _parts() -> Any:
    return _ENVIRONMENT.get_template("parts.html").module


def _hashed(path: Path) -> str:
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"


def _version(*shown: object) -> str:
    """Another one whenever what is shown is another: a vote changes a card and moves no run."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def _key() -> str:
    return secrets.token_urlsafe(16)


_STATIC_NAMES: Final = {path.name: _hashed(path) for path in sorted((_FOLDER / "static").iterdir())}
_STATIC: Final = {hashed: (_FOLDER / "static" / name).read_bytes() for name, hashed in _STATIC_NAMES.items()}
_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_ENVIRONMENT.globals |= {"static": lambda name: Markup("/static/") + _STATIC_NAMES[name], "new_key": _key, "version_of": _version}
