"""announcing: due messages are told from the run as it is now and delivered; what cannot be delivered is kept."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from commands.alertcards import MOST_LISTED, alert_card
from commands.rulebooks import Rulebook
from commands.stories import card_of, read_all_facts
from commands.voting import may_see, rule_of
from countersign.replies import Card, Reply
from store import traces
from store.alerts import find_firing, find_groups
from store.approvals import find_requests
from store.databases import ReadSession
from store.deliveries import Delivered, mark_delivered, put_off, take_due
from store.lanes import HOLD, hold_lane
from store.people import find_people
from store.runs import RunRow, find_runs
from store.triggers import find_trigger

from .services import Services

_log = logging.getLogger(__name__)
BATCH: Final = 64
LONGEST_WAIT: Final = 300.0
LONGEST_DELIVERY: Final = HOLD - 5.0


class Later(Exception):
    """Not now: `seconds` until it may work; `unclear` when it may have been posted.

    `lane` is what the platform closed for so long to everybody, or else the message's own; `channel` is where it turned out to belong.
    """

    def __init__(self, seconds: float, error: str, *, lane: str = "", unclear: bool = False, channel: str | None = None) -> None:
        super().__init__(error)
        self.seconds, self.lane, self.unclear, self.channel = seconds, lane, unclear, channel


class Undeliverable(Exception):
    """It will never work like this; the message is kept for a person to look at. `unclear` when it may have been posted."""

    def __init__(self, error: str, *, unclear: bool = False) -> None:
        super().__init__(error)
        self.unclear = unclear


@dataclass(frozen=True)
class Taken:
    """Message rows, taken at `at` of this process's monotonic clock: their lease began later than that."""

    at: float
    rows: list[Any]


@dataclass(frozen=True)
class Telling:
    """A message row taken at `taken` of this process's clock, and what it is to show: a run, alerts, or a reply, which show no run."""

    row: Any
    run: RunRow | None
    shown: Card | Reply
    taken: float

    @property
    def card(self) -> dict[str, Any]:
        return self.shown.model_dump(mode="json")


class Deliverer(Protocol):
    """Knows one platform. Returns where the platform keeps the message."""

    async def deliver(self, one: Telling) -> tuple[str | None, str | None]: ...


async def announce(services: Services, deliverers: dict[str, Deliverer]) -> int:
    """Delivers at most 64 due messages, side by side; returns how many were taken."""
    taken = await take(services, BATCH)
    await deliver(services, deliverers, taken)
    return len(taken.rows)


async def take(services: Services, limit: int) -> Taken:
    """Takes at most so many due messages; they have to be delivered."""
    at = time.monotonic()
    async with services.statement() as session:
        return Taken(at, await take_due(session, limit=limit))


async def deliver(services: Services, deliverers: dict[str, Deliverer], taken: Taken) -> None:
    """Delivers what was taken, side by side; what is done is recorded without waiting for what takes longer."""
    if not taken.rows:
        return
    tellings = await _tell(services, taken)
    under_way = {asyncio.ensure_future(_deliver(services, deliverers, one)) for one in tellings}
    try:
        while under_way:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            async with services.statement() as session:
                await mark_delivered(session, [found for one in done if (found := one.result()) is not None])
    finally:
        for one in under_way:
            one.cancel()


async def _tell(services: Services, taken: Taken) -> list[Telling]:
    tellings = [Telling(row, None, Reply.stored(row.card), taken.at) for row in taken.rows if row.kind == "reply"]
    if len(tellings) < len(taken.rows):
        async with services.reading() as session:
            others = [row for row in taken.rows if row.kind != "reply"]
            tellings += await _tell_runs(services, session, [row for row in others if row.alert_group_id is None], taken.at)
            tellings += await _tell_alerts(services, session, [row for row in others if row.alert_group_id is not None], taken.at)
    return tellings


async def _tell_alerts(services: Services, session: ReadSession, rows: Sequence[Any], taken: float) -> list[Telling]:
    groups = await find_groups(session, sorted({row.alert_group_id for row in rows})) if rows else {}
    registry = (await services.current_rulebook(session)).registry
    tellings = []
    for row in rows:
        group = groups[row.alert_group_id]
        trigger, firing = await find_trigger(session, group.trigger_id), await find_firing(session, group.id, limit=MOST_LISTED)
        tellings.append(Telling(row, None, alert_card(registry, trigger, group, firing), taken))
    return tellings


async def _tell_runs(services: Services, session: ReadSession, rows: Sequence[Any], taken: float) -> list[Telling]:
    runs = await find_runs(session, sorted({row.run_id for row in rows}))
    rulebook, switches = await services.current_rulebook(session), services.switches
    blind = await _find_blind(session, rulebook, [(row.person, runs[row.run_id]) for row in rows if row.kind != "card"])
    told = await read_all_facts(session, list(runs.values()), rulebook=rulebook, switches=switches)
    facts = {one.run.id: one for one in told}
    cards: dict[tuple[UUID, bool], Card] = {}
    tellings = []
    for row in rows:
        run = runs[row.run_id]
        shared = row.kind == "card" or (row.person, run.id) in blind
        if (run.id, shared) not in cards:
            cards[run.id, shared] = card_of(facts[run.id], shared=shared)
        tellings.append(Telling(row, run, cards[run.id, shared], taken))
    return tellings


async def _find_blind(session: ReadSession, rulebook: Rulebook, told: Sequence[tuple[str, RunRow]]) -> set[tuple[str, UUID]]:
    """Who of those told of a private run may not read it now: they have lost the right since, or are told only that it happened."""
    private = [(name, run) for name, run in told if run.visibility != "staff"]
    people = await find_people(session, sorted({name for name, _ in private})) if private else {}
    requests = await find_requests(session, {run.id for _, run in private})
    blind = set()
    for name, run in private:
        request = requests.get(run.id)
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
        async with asyncio.timeout(max(0.0, LONGEST_DELIVERY - (time.monotonic() - one.taken))):
            with traces.span("deliver", one.run.trace if one.run else "", "client", platform=one.row.platform, kind=one.row.kind):
                channel, remote = await deliverer.deliver(one)
        return _delivered(one, channel, remote)
    except Later as later:
        await _put_off(services, one, later)
    except Undeliverable as error:
        async with services.transaction() as session:
            await put_off(session, one.row.id, seconds=0, error=str(error), unclear=error.unclear, dead=True)
        _log.warning("message %s cannot be delivered: %s", one.row.id, error)
    except Exception as error:
        if not isinstance(error, TimeoutError):
            _log.exception("message %s could not be delivered", one.row.id)
        await _put_off(services, one, Later(min(LONGEST_WAIT, 2.0**one.row.attempts), "took too long or failed", unclear=True))
    return None


async def _put_off(services: Services, one: Telling, later: Later) -> None:
    """First the message leaves its lanes, then the lane that is closed stays closed."""
    async with services.transaction() as session:
        await put_off(session, one.row.id, seconds=later.seconds, error=str(later), unclear=later.unclear, channel=later.channel)
        if later.lane:
            await hold_lane(session, later.lane, seconds=later.seconds)


def _delivered(one: Telling, channel: str | None, remote: str | None) -> Delivered:
    return Delivered(
        one.row.id, one.row.wanted, one.card, remote_channel=channel, remote_id=remote, first=not one.row.shown, due=one.row.due_at
    )
