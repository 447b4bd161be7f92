"""rerouting: when people, groups, grants or policy change, requests wait for others: nobody is left, or somebody new is to be asked."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError

from automations.audiences import approver_messages
from automations.planning import fallback_of
from automations.services import Services
from commands.audiences import Audience, audience_at, audience_of
from commands.policies import PolicyError
from commands.rolls import Roll
from commands.voting import Ballot, read_ballots, rule_of
from countersign.tallies import Outcome, Tally
from store.audiences import UNREADABLE, Looked, Pair, find_live, find_unlooked, keep_audiences, note_looked
from store.databases import ReadSession
from store.messages import find_told

from .tending import read_roll, shortage, who_waits

_log = logging.getLogger(__name__)
BATCH: Final = 200
# Much passes without a notice: a turn on call, the end of a membership, a notice that was sent while nobody listened.
AGAIN_SECONDS: Final = 10.0
# What changes together is looked at together.
TOGETHER_SECONDS: Final = 0.1


async def reroute_always(services: Services, changed: asyncio.Event) -> None:
    """Reroutes whenever people have changed, until cancelled."""
    while True:
        changed.clear()
        try:
            await reroute(services)
        except (SQLAlchemyError, OSError, PolicyError) as error:
            _log.warning("rerouting is interrupted: %s", type(error).__name__)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                await changed.wait()
        await asyncio.sleep(TOGETHER_SECONDS)


async def reroute(services: Services) -> int:
    """Looks at the open requests whose voters have changed since they were looked at last; returns how many there were.

    Those that have to tell something else now, or to ask somebody new, are made due and tended by the next sweep. What it costs depends on
    how many audiences there are and how many of them changed: the requests of the others are not looked at one by one.
    """
    rulebook = await services.recent_rulebook(seconds=0)
    async with services.reading() as session:
        roll = await read_roll(session, rulebook)
        live = {id_: audience_of(asked) for id_, asked in await find_live(session)}
    known = {id_: roll.summary(one) for id_, one in live.items() if one is not None}
    count = 0
    while True:
        async with services.transaction() as session:
            pairs = await find_unlooked(session, known, limit=BATCH)
            looked, fresh = await _looked(services, session, roll, known, pairs)
            await keep_audiences(session, {one.id: one.as_json() for one in fresh})
            await note_looked(session, looked)
        count += len(pairs)
        if len(pairs) < BATCH:
            return count
        await asyncio.sleep(0)


async def _looked(
    services: Services, session: ReadSession, roll: Roll, known: Mapping[UUID, str], pairs: Sequence[Pair]
) -> tuple[list[Looked], list[Audience]]:
    rules = {request.id: rule_of(request) for request, _ in pairs}
    readable = [pair for pair in pairs if rules[pair[0].id]]
    ballots = await read_ballots(session, roll.rulebook, readable, people=roll.people) if readable else []
    told = await find_told(session, [run.id for _, run in readable])
    looked = [Looked(request.id, UNREADABLE, "", due=False) for request, _ in pairs if rules[request.id] is None]
    fresh: dict[UUID, Audience] = {}
    for (request, run), ballot in zip(readable, ballots, strict=True):
        tally, rule = ballot.tally(), rules[request.id]
        if tally.outcome is not Outcome.waiting or rule is None:
            over = request.audience or UNREADABLE
            looked.append(Looked(request.id, over, known.get(over, ""), due=True))
            continue
        audience = audience_at(ballot, tally, rule, run)
        fresh |= {} if audience.id in known else {audience.id: audience}
        summary = known.get(audience.id) or roll.summary(audience)
        due = tally.stage != request.stage or _has_news(services, roll, ballot, tally, (request, run), told[run.id])
        looked.append(Looked(request.id, audience.id, summary, due=due))
    return looked, list(fresh.values())


def _has_news(services: Services, roll: Roll, ballot: Ballot, tally: Tally, pair: Pair, told: set[tuple[str, str]]) -> bool:
    """Whether its card has to say something else about who can approve it, or somebody is to be asked who was not."""
    request, run = pair
    if shortage(roll, ballot, tally, run) != run.outcome:
        return True
    waiting = who_waits(roll, ballot, tally)
    asked = approver_messages(run, waiting, revision=request.revision, fallback=fallback_of(services))
    return any((one.kind, one.person) not in told for one in asked)
