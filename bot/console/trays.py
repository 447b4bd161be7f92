"""Inboxes that somebody has open: what waits for their reader of the runs that changed, which are read and told once for all of them."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from bot.hubs import Hub
from bot.together import Together
from commands.inboxes import Waiting, card_of_waiting, decidable, find_asked
from commands.rulebooks import Rulebook
from commands.stories import tell_all
from commands.storyfacts import earlier_of
from commands.voting import Ballot, may_see, rule_of
from countersign.replies import Card
from countersign.runs import FINISHED, RunStatus
from store.approvals import ApprovalRequestRow
from store.databases import ReadSession
from store.people import Person
from store.runs import RunRow, find_runs
from store.targets import Earlier

from .bulks import pick_of
from .frames import Here
from .pages import item_part
from .pulses import SECONDS_A_PAGE

FOLLOWED: Final = ("", "asked")


@dataclass
class Case:
    """A run that changed: its latest request with the ballot if it is open, and for its asker the card."""

    rulebook: Rulebook
    run: RunRow
    request: ApprovalRequestRow | None
    ballot: Ballot | None
    earlier: Earlier | None
    card: Card
    parts: dict[tuple[str, ...], str] = field(default_factory=dict)

    def waits_for(self, person: Person) -> Waiting | None:
        """Their part in it, if it waits for them now."""
        if self.request is None or self.ballot is None or not may_see(self.rulebook, person, self.run, rule_of(self.request)):
            return None
        return decidable(self.request, self.run, self.ballot, self.ballot.people.get(person.name, person))


class Trays:
    """One per web process."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub
        self._readers: Counter[tuple[str, str]] = Counter()
        self._together: Together[UUID, Case | None] = Together(hub, self._read)

    @contextmanager
    def reading(self, person: Person, tab: str) -> Iterator[None]:
        """Somebody has this part of their inbox open."""
        reader = (person.name, tab)
        self._readers[reader] += 1
        try:
            yield
        finally:
            self._readers[reader] -= 1
            if not self._readers[reader]:
                del self._readers[reader]

    @property
    def pause(self) -> float:
        """Seconds between two times that all inboxes are read again, for what is about no run and may be about anybody's rights."""
        return max(1.0, SECONDS_A_PAGE * self._readers.total())

    async def items(self, here: Here, tab: str, changed: Collection[UUID]) -> str | None:
        """For the reader's script: of each run that changed the item as it is now, or null if it is not in this tab; empty for nothing.

        None where the inbox has to be read again: a run may wait there for another reason than its approval.
        """
        told = {}
        for case in await asyncio.gather(*(self._together.get(one) for one in changed)):
            if case is None:
                continue
            if case.run.status == RunStatus.waiting or case.run.badge:
                return None
            part = self._part(here, tab, case)
            if part is not None:
                told[f"r-{case.run.id}"] = part or None
        return json.dumps(told) if told else ""

    def _part(self, here: Here, tab: str, case: Case) -> str | None:
        """The item; '' if it does not belong there, None if it never can have."""
        run, person = case.run, here.visitor.person
        if tab:
            wanted = run.status not in FINISHED
            return None if run.asker != person.name else self._made(here, case, case.card, None) if wanted else ""
        if case.request is None:
            return None
        waiting = case.waits_for(person)
        if waiting is None:
            return ""
        return self._made(here, case, card_of_waiting(waiting, case.rulebook, earlier=case.earlier), waiting)

    def _made(self, here: Here, case: Case, card: Card, waiting: Waiting | None) -> str:
        until = waiting.request.expires_at if waiting else None
        key = (here.zone.key, "waits" if waiting else "", waiting.on_behalf if waiting else "")
        if key not in case.parts:
            on_behalf, pick = (waiting.on_behalf, pick_of(waiting)) if waiting else ("", "")
            case.parts[key] = item_part(here.for_all, case.run, card, until=until, on_behalf=on_behalf, pick=pick)
        return case.parts[key]

    async def _read(self, asked: frozenset[UUID]) -> Mapping[UUID, Case | None]:
        hub = self._hub()
        rulebook = await hub.rulebook()
        voters, askers = ({name for name, tab in self._readers if tab == wanted} for wanted in FOLLOWED)

        async def read(session: ReadSession) -> Mapping[UUID, Case | None]:
            runs = await find_runs(session, list(asked))
            requests, ballots = await find_asked(session, rulebook, list(runs.values()), readers=voters)
            earlier = await earlier_of(session, rulebook, [run for id_, run in runs.items() if id_ in ballots])
            own = [run for run in runs.values() if run.asker in askers]
            cards = dict(zip([one.id for one in own], await tell_all(session, own, rulebook=rulebook), strict=True))
            return {
                id_: Case(
                    rulebook,
                    run,
                    requests.get(id_),
                    ballots.get(id_),
                    earlier.get(id_),
                    cards.get(id_, _NO_CARD),
                )
                for id_, run in runs.items()
            }

        found = await hub.read(read)
        return {one: found.get(one) for one in asked}


_NO_CARD: Final = Card(title="", fallback="")
