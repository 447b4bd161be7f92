"""announcing: due messages are told from the run as it is now and delivered; what cannot be delivered is kept."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from commands.rulebooks import Rulebook
from commands.stories import card_of, read_facts
from commands.voting import may_see, rule_of
from countersign.replies import Card, Reply
from store.approvals import find_request
from store.databases import ReadSession
from store.messages import Delivered, mark_delivered, put_off, put_off_channel, take_due
from store.people import find_people
from store.runs import RunRow, find_runs

from .services import Services

_log = logging.getLogger(__name__)
BATCH: Final = 64
LONGEST_WAIT: Final = 300.0


class Later(Exception):
    """Not now: `seconds` until it may work; `whole_channel` when the platform said so for the channel; `unclear` when it may be posted."""

    def __init__(self, seconds: float, error: str, *, whole_channel: str = "", unclear: bool = False) -> None:
        super().__init__(error)
        self.seconds, self.whole_channel, self.unclear = seconds, whole_channel, unclear


class Undeliverable(Exception):
    """It will never work like this; the message is kept for a person to look at."""


@dataclass(frozen=True)
class Telling:
    """A message row taken, the run that it shows (a reply shows none), and what it is to show."""

    row: Any
    run: RunRow | None
    shown: Card | Reply

    @property
    def card(self) -> dict[str, Any]:
        return self.shown.model_dump(mode="json")


class Deliverer(Protocol):
    """Knows one platform. Returns where the platform keeps the message."""

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]: ...


async def announce(services: Services, deliverers: dict[str, Deliverer]) -> int:
    """Delivers at most 64 due messages, side by side; returns how many were taken."""
    async with services.statement() as session:
        rows = await take_due(session, limit=BATCH)
    if not rows:
        return 0
    tellings = await _tell(services, rows)
    outcomes = await asyncio.gather(*(_deliver(services, deliverers, one) for one in tellings))
    async with services.statement() as session:
        await mark_delivered(session, [one for one in outcomes if one is not None])
    return len(rows)


async def _tell(services: Services, rows: Sequence[Any]) -> list[Telling]:
    tellings = [Telling(row, None, Reply.model_validate(row.card)) for row in rows if row.kind == "reply"]
    if len(tellings) < len(rows):
        async with services.reading() as session:
            tellings += await _tell_runs(services, session, [row for row in rows if row.kind != "reply"])
    return tellings


async def _tell_runs(services: Services, session: ReadSession, rows: Sequence[Any]) -> list[Telling]:
    runs = await find_runs(session, sorted({row.run_id for row in rows}))
    rulebook, switches = await services.current_rulebook(session), services.switches
    blind = await _find_blind(session, rulebook, [(row.person, runs[row.run_id]) for row in rows if row.kind != "card"])
    facts = {run.id: await read_facts(session, run, rulebook=rulebook, switches=switches) for run in runs.values()}
    cards: dict[tuple[UUID, bool], Card] = {}
    tellings = []
    for row in rows:
        run = runs[row.run_id]
        shared = row.kind == "card" or (row.person, run.id) in blind
        if (run.id, shared) not in cards:
            cards[run.id, shared] = card_of(facts[run.id], shared=shared)
        tellings.append(Telling(row, run, cards[run.id, shared]))
    return tellings


async def _find_blind(session: ReadSession, rulebook: Rulebook, told: Sequence[tuple[str, RunRow]]) -> set[tuple[str, UUID]]:
    """Who of those told of a private run may not read it now: they have lost the right since, or are told only that it happened."""
    private = [(name, run) for name, run in told if run.visibility != "staff"]
    people = await find_people(session, sorted({name for name, _ in private})) if private else {}
    blind = set()
    for name, run in private:
        request = await find_request(session, run.id)
        if name not in people or not may_see(rulebook, people[name], run, rule_of(request) if request else None):
            blind.add((name, run.id))
    return blind


async def _deliver(services: Services, deliverers: dict[str, Deliverer], one: Telling) -> Delivered | None:
    if one.row.shown and one.card == one.row.card:
        return _delivered(one, None, None)
    try:
        deliverer = deliverers.get(one.row.platform)
        if deliverer is None:
            raise Undeliverable(f"{one.row.platform} is not connected")
        channel, remote = await deliverer.deliver(one)
        return _delivered(one, channel, remote)
    except Later as later:
        await _put_off(services, one, later)
    except Undeliverable as error:
        async with services.transaction() as session:
            await put_off(session, one.row.id, seconds=0, error=str(error), unclear=False, dead=True)
        _log.warning("message %s cannot be delivered: %s", one.row.id, error)
    except Exception:
        _log.exception("message %s could not be delivered", one.row.id)
        await _put_off(services, one, Later(min(LONGEST_WAIT, 2.0**one.row.attempts), "unexpected"))
    return None


async def _put_off(services: Services, one: Telling, later: Later) -> None:
    async with services.transaction() as session:
        await put_off(session, one.row.id, seconds=later.seconds, error=str(later), unclear=later.unclear)
        if later.whole_channel:
            await put_off_channel(session, platform=one.row.platform, channel=later.whole_channel, seconds=later.seconds)


def _delivered(one: Telling, channel: str | None, remote: str | None) -> Delivered:
    return Delivered(one.row.id, one.row.wanted, one.card, remote_channel=channel, remote_id=remote, first=not one.row.shown)
