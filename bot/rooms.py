"""The chat room that the browser and the terminal share: its channels, what is shown in them, and what people do there."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from countersign.invocations import Door, Invocation, Place
from countersign.replies import Card, Reply
from store.databases import ReadSession
from store.messages import find_changed_in_place, find_in_place
from store.people import Person, find_all_people

from .hubs import Answer, Hub
from .presses import Press
from .together import Together

PLATFORM: Final = "room"
CHANNELS: Final = ("ops", "deploys", "incidents")
SHOWN: Final = 100
# Of those whom a channel is shown to each sees what is for everybody and what is for them alone.
SHOWN_TO_ALL: Final = 300
# What changes within a quarter of a second is read once, for all who watch.
MOMENT: Final = 0.25
HEARTBEAT_SECONDS: Final = 15.0
# A message committed a moment late bears an earlier time than one already seen, so whoever comes back is told the last moments again.
OVERLAP_MICROSECONDS: Final = 5_000_000
_CHANNEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")


@dataclass(frozen=True)
class Line:
    """One line beneath a card."""

    text: str
    at: datetime


@dataclass(frozen=True)
class Message:
    """What is shown in one place: a card that is kept current, with what was said about it, or a reply that only its reader sees.

    A reply may be about no run.
    """

    id: UUID
    run: UUID | None
    kind: str
    private: bool
    version: int
    at: datetime
    changed: datetime
    card: Card | None = None
    reply: Reply | None = None
    beneath: tuple[Line, ...] = ()

    @property
    def cursor(self) -> int:
        """When it changed last, in microseconds since 1970."""
        return int(self.changed.timestamp() * 1_000_000)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "run": str(self.run) if self.run else None,
            "kind": self.kind,
            "private": self.private,
            "version": self.version,
            "at": self.at.isoformat(),
            "changed": self.changed.isoformat(),
            "card": self.card.model_dump(mode="json") if self.card else None,
            "reply": self.reply.model_dump(mode="json") if self.reply else None,
            "beneath": [{"text": one.text, "at": one.at.isoformat()} for one in self.beneath],
        }


class Changes:
    """Wakes whoever watches a place. It listens from the moment it is made, because Postgres is asked for a notice only once."""

    def __init__(self, hub: Hub, channel: str = "countersign_room") -> None:
        self._watchers: set[tuple[frozenset[str], asyncio.Event]] = set()
        hub.notices.on(channel, self._wake)

    @contextmanager
    def watching(self, places: Iterable[str]) -> Iterator[asyncio.Event]:
        """An event that is set whenever something is shown in one of these places (`ops`, or `@ada`)."""
        watcher = (frozenset(places), asyncio.Event())
        self._watchers.add(watcher)
        try:
            yield watcher[1]
        finally:
            self._watchers.discard(watcher)

    def _wake(self, place: str) -> None:
        for places, event in self._watchers:
            if not place or place in places:
                event.set()


@dataclass(frozen=True)
class Changed:
    """What changed in a channel after `since` and until `until`, in microseconds, each with the name of whom it is for."""

    since: int
    until: int
    messages: Sequence[tuple[str, Message]]


class Room:
    """One per web process. Every method acts as the person it is given; who that is was decided by the door."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.changes = Changes(hub)
        self._until: dict[str, int] = {}
        self._changed: Together[str, Changed] = Together(lambda: self._hub, self._read_changed, moment=MOMENT)

    async def channels(self) -> tuple[str, ...]:
        """The room's channels, and those that policy sends cards to."""
        rulebook = await self._hub.rulebook()
        named = {name for names in rulebook.policy.file.channels.values() for name in names if _CHANNEL.match(name)}
        return (*CHANNELS, *sorted(named - set(CHANNELS)))

    async def cast(self) -> list[Person]:
        """Everybody a demo session may act as."""
        people = await self._hub.read(find_all_people)
        return [one for one in people if not one.service]

    async def messages(self, person: Person, channel: str) -> list[Message]:
        """What this person sees in a channel (empty: their direct messages), oldest first."""

        async def read(session: ReadSession) -> list[Any]:
            return await find_in_place(session, platform=PLATFORM, channel=channel, person=person.name, limit=SHOWN)

        return [_message(row) for row in await self._hub.read(read)]

    async def say(self, person: Person, *, channel: str, text: str, key: str, door: Door, trace: str) -> Answer:
        """What was typed into a channel."""
        return await self._hub.submit(person, self._invocation(person, channel=channel, key=key, door=door, trace=trace, text=text))

    async def fill(
        self, person: Person, *, channel: str, command: str, answers: Mapping[str, Any], key: str, door: Door, trace: str
    ) -> Answer:
        """A form that was filled in; an empty answer is one that was not given."""
        given = {name: value for name, value in answers.items() if value not in ("", None)}
        wanted = self._invocation(person, channel=channel, key=key, door=door, trace=trace, command=command, arguments=given)
        return await self._hub.submit(person, wanted)

    async def press(self, person: Person, one: Press) -> Reply:
        """A button that was pressed; the key is this person's own, so nobody can use up another's."""
        return await self._hub.press(person, replace(one, key=_own(person, one.key)))

    async def watch(self, person: Person, channel: str, *, after: int | None) -> AsyncIterator[Message | None]:
        """Each message of a channel whenever it changes, None every 15 s; begins with what changed after the cursor, if one is given."""
        with self.changes.watching([one for one in (channel, f"@{person.name}") if one]) as woken:
            seen = self._until.get(channel, 0)
            found: Sequence[Message] = await self.messages(person, channel)
            known = {one.id: one.cursor for one in found}
            for one in found:
                if after is not None and one.cursor > after - OVERLAP_MICROSECONDS:
                    yield one
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await woken.wait()
                except TimeoutError:
                    yield None
                    continue
                woken.clear()
                seen, found = await self._since(person, channel, seen)
                for one in found:
                    if known.get(one.id) != one.cursor:
                        yield one
                    known[one.id] = one.cursor

    async def _since(self, person: Person, channel: str, seen: int) -> tuple[int, Sequence[Message]]:
        """What this person is shown of what changed after `seen`, and until when that is; read with all who watch the channel."""
        if channel:
            changed = await self._changed.get(channel)
            if changed.since <= seen:
                return changed.until, [one for whose, one in changed.messages if whose in ("", person.name)]
        until = self._until.get(channel, 0)  # they were away for long, or in their direct messages, which nobody shares
        return until, await self.messages(person, channel)

    async def _read_changed(self, channels: frozenset[str]) -> dict[str, Changed]:
        async def read(session: ReadSession) -> dict[str, Changed]:
            found = {}
            for one in channels:
                since = max(0, self._until.get(one, 0) - OVERLAP_MICROSECONDS)
                after = datetime.fromtimestamp(since / 1_000_000, UTC)
                rows = await find_changed_in_place(session, platform=PLATFORM, channel=one, after=after, limit=SHOWN_TO_ALL)
                told = [(row.person, _message(row)) for row in rows]
                found[one] = Changed(since, max([message.cursor for _, message in told] + [self._until.get(one, 0)]), told)
            return found

        changed = await self._hub.read(read)
        self._until |= {one: what.until for one, what in changed.items()}
        return changed

    def _invocation(self, person: Person, *, channel: str, key: str, door: Door, trace: str, **what: Any) -> Invocation:
        return Invocation(key=_own(person, key), door=door, place=Place(PLATFORM, channel=channel), trace=trace, **what)


def _own(person: Person, key: str) -> str:
    return f"room:{person.name}:{key}"


def _message(row: Any) -> Message:
    return Message(
        id=row.id,
        run=row.run_id,
        kind=row.kind,
        private=bool(row.person),
        version=row.shown,
        at=row.created_at,
        changed=row.edited_at or row.created_at,
        card=None if row.kind == "reply" else Card.stored(row.card),
        reply=Reply.stored(row.card) if row.kind == "reply" else None,
        beneath=tuple(Line(one["text"], datetime.fromtimestamp(one["at"], UTC)) for one in row.beneath),
    )
