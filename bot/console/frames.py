"""What is around every page: who acts, the sections they may open, and what is stopped."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.requests import Request

from bot.api.problems import Problem
from bot.hubs import Hub
from commands.authorizing import Allowed, held, is_admin, is_auditor
from commands.inboxes import reviews_for, waiting_for
from commands.policies import AUDIT
from commands.rulebooks import Rulebook, uses_passkeys
from commands.switches import sentences
from commands.tasks import tasks_for
from store.databases import ReadSession
from store.people import Person

from .sessions import Visitor, find_visitor

MOST_COUNTED: Final = 9
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Here:
    """What every form and link on the page carries: who acts, where, and the session's token.

    `path` and `query` say how to come back to this page; an empty path is the room's, which is found by its channel.
    """

    visitor: Visitor
    channel: str = ""
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.visitor.person.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            return ZoneInfo("UTC")

    @property
    def for_all(self) -> "Here":
        """This place as everybody there sees it, who is in the same time zone: without a name and a token of anybody's."""
        nobody = replace(self.visitor, person=Person("", True, frozenset(), frozenset(), timezone=self.zone.key), csrf="")
        return replace(self, visitor=nobody)

    @property
    def back(self) -> str:
        """This page's own address, for forms whose answer belongs on it."""
        return self.link(self.path, **self.query) if self.path else ""

    def address(self, *, channel: str | None = None, acting_as: str = "", form: str = "") -> str:
        """The room's address for another channel, another of the cast, or with a command's form open."""
        query = {"channel": self.channel if channel is None else channel}
        if self.visitor.cast:
            query["as"] = acting_as or self.visitor.person.name
        return "/?" + urlencode(query | ({"form": form} if form else {}))

    def link(self, path: str, **query: str | int) -> str:
        """The address of a page of ours for whoever acts now; what is empty is left out."""
        wanted = {name.rstrip("_"): value for name, value in query.items() if value != ""}
        if self.visitor.cast and "as" not in wanted:
            wanted["as"] = self.visitor.person.name
        return path + ("?" + urlencode(wanted) if wanted else "")

    def acting(self, name: str) -> str:
        """This page as another of the cast sees it."""
        return self.link(self.path, **{**self.query, "as": name}) if self.path else self.address(acting_as=name)

    def again(self, **query: str | int) -> str:
        """This page with something of its query changed."""
        return self.link(self.path, **{**self.query, **query})

    def clock(self, moment: datetime) -> str:
        """Hours and minutes where the reader lives, with the day when it is not today."""
        local, now = moment.astimezone(self.zone), datetime.now(self.zone)
        return f"{local:%H:%M}" if local.date() == now.date() else f"{local:%d %b %H:%M}"

    def date(self, moment: datetime) -> str:
        """The whole moment where the reader lives, to the second."""
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M:%S %Z}"

    def ago(self, moment: datetime) -> str:
        """How long ago or how far ahead a moment is, in one unit."""
        seconds = (datetime.now(UTC) - moment).total_seconds()
        told = _told(abs(seconds))
        return f"{told} ago" if seconds >= 0 else f"in {told}"

    def lasting(self, seconds: float) -> str:
        """So long, in one unit."""
        return _told(seconds)


@dataclass(frozen=True)
class Section:
    """One entry of the rail; `count` is what waits there, as text."""

    name: str
    path: str
    count: str = ""


@dataclass(frozen=True)
class Frame:
    here: Here
    rulebook: Rulebook
    section: str
    sections: tuple[Section, ...]
    stopped: tuple[str, ...]

    @property
    def moment(self) -> int:
        """When the page is made, by the database's clock in microseconds, so that its stream tells of what came after."""
        return int(self.rulebook.now().timestamp() * 1_000_000)


async def here_of(request: Request, path: str, **query: str) -> Here:
    """Who asks for this page; raises Problem 401."""
    visitor = await find_visitor(request, acting_as=request.query_params.get("as", ""))
    return Here(visitor, path=path, query={name: value for name, value in query.items() if value})


async def framed(request: Request, here: Here, section: str) -> Frame:
    """The frame of a page in this section."""
    hub: Hub = request.app.state.hub
    rulebook = await hub.rulebook()
    count = await hub.read(lambda session: _waiting(session, rulebook, here.visitor.person))
    return Frame(here, rulebook, section, _sections(count, rulebook, here.visitor.person), tuple(sentences(rulebook.switches)))


def day_of(here: Here, name: str, value: str, *, after: int = 0) -> datetime | None:
    """The start of a day where the reader lives; raises Problem 422."""
    try:
        return datetime.fromisoformat(value).replace(tzinfo=here.zone) + timedelta(days=after) if value else None
    except (ValueError, OverflowError):
        raise Problem(422, "wrong_parameter", f"{name}: should be a day, for instance 2026-03-31.") from None


def _sections(waiting: str, rulebook: Rulebook, person: Person) -> tuple[Section, ...]:
    """Those whose page would answer to this person."""
    work = (Section("Room", "/"), Section("Inbox", "/inbox", waiting), Section("Runs", "/runs"), Section("Ask", "/ask"))
    known = [*work, *([Section("Audit", "/audit")] if isinstance(held(rulebook.policy, person, AUDIT), Allowed) else [])]
    known += [Section("People", "/people"), Section("Policy", "/policy")]
    if is_admin(rulebook.policy, person):
        known.append(Section("Operations", "/operations"))
    if is_admin(rulebook.policy, person) or is_auditor(rulebook.policy, person):
        known.append(Section("Numbers", "/numbers"))
    if uses_passkeys(rulebook):
        known.append(Section("Passkeys", "/passkeys"))
    return tuple(known)


async def _waiting(session: ReadSession, rulebook: Rulebook, person: Person) -> str:
    inbox = await waiting_for(session, rulebook, person, limit=MOST_COUNTED + 1)
    found = len(inbox.waiting) + len(await reviews_for(session, rulebook, person))
    found += len(await tasks_for(session, rulebook, person, limit=MOST_COUNTED + 1))
    return "" if not found else str(found) if found <= MOST_COUNTED else f"{MOST_COUNTED}+"


def _told(seconds: float) -> str:
    for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "moments" if seconds < 1 else f"{int(seconds)} s"
