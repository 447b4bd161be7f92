"""Ten thousand requests are open and many more have ended: what people and housekeepers ask costs the same however many those are."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from automations.announcing import announce
from automations.delivering import Room
from automations.housekeeping.rerouting import reroute
from automations.housekeeping.sweeping import count_all
from automations.housekeeping.tending import ask_for_reviews, read_roll, tend_requests
from benchmarks.crowds import Crowd, digest_of, run_id, voters_of
from bot.levels import levels_text
from bot.presses import Press
from commands.audiences import Audience, audience_of
from commands.ending import tend_grants
from commands.inboxes import card_of_waiting, reviews_for, waiting_for
from countersign.invocations import Door
from countersign.replies import Reply
from countersign.runs import RunStatus
from kit.bots import Bot
from kit.fixtures import open_bot
from store.approvals import find_decisions, find_request
from store.audiences import find_live
from store.claims import find_due
from store.databases import transaction
from store.deliveries import next_due
from store.embedded import DatabaseUrls
from store.people import Person, find_people
from tests.automations.carts import write_cart
from tests.plans import BIG, Cost, costs_of, heard

OPEN = 10_000
FEW, MANY = 2_000, 20_000
MOST_ROWS = 300
PLAN = {"summary": "fills it", "steps": [{"name": "cart.put", "title": "put", "arguments": {}, "undo": None}], "order": ["what"]}


@dataclass
class Hall:
    """A hub with ten thousand open requests, and what is done in it."""

    bot: Bot
    urls: DatabaseUrls
    decided: int = 0

    def next(self) -> int:
        """A request that nobody has touched yet."""
        self.decided += 1
        return self.decided

    async def person(self, name: str) -> Person:
        return await self.bot.hub.read(lambda session: _one(find_people(session, [name])))

    async def press(self, number: int, *, name: str = "") -> Reply:
        click = Press(str(uuid4()), "approve", str(run_id(number)), Door.browser, digest=digest_of(number))
        return await self.bot.hub.press(await self.person(name or voters_of(number)[0]), click)

    async def look(self) -> None:
        """Every request was looked at since people came or went last, as the housekeeper leaves it after a while."""
        rulebook = await self.bot.services.recent_rulebook(seconds=0)
        async with transaction(self.bot.owner) as session:
            roll = await read_roll(session, rulebook)
            for id_, asked in await find_live(session):
                voters = {"id": id_, "voters": roll.summary(audience_of(asked) or Audience("", ()))}
                await session.execute(text("UPDATE approval_requests SET voters = :voters WHERE audience = :id"), voters)

    async def make_due(self, number: int) -> None:
        async with transaction(self.bot.owner) as session:
            query = "UPDATE approval_requests SET next_due = countersign_now() WHERE run_id = :run"
            await session.execute(text(query), {"run": run_id(number)})


@pytest.fixture
def crowd() -> Crowd:
    return Crowd("cart", PLAN)


@pytest.fixture
async def hall(database: DatabaseUrls, tmp_path: Path, crowd: Crowd) -> AsyncIterator[Hall]:
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        await bot.person("ada")
        async with transaction(bot.owner) as session:
            await crowd.settle(session, {"ada": {"groups": ["only-ada"]}})
            await crowd.ask(session, OPEN)
            await crowd.end(session, FEW, first=OPEN)
        bot.hub.forget()
        hall = Hall(bot, database)
        await hall.look()
        assert await reroute(bot.services) == 0
        yield hall


async def test_no_statement_costs_more_when_more_requests_have_ended(hall: Hall, crowd: Crowd) -> None:
    before = {name: await _costs(hall, work) for name, work in WORK.items()}
    for name in ("a click", "the deciding click", "a refused click", "an inbox"):
        dear = [cost for cost in before[name].values() if cost.tables & BIG and cost.rows > MOST_ROWS]
        assert not dear, f"{name}: {dear}"
    async with transaction(hall.bot.owner) as session:
        await crowd.end(session, MANY - FEW, first=OPEN + FEW)
        await session.execute(text("ANALYZE"))
    after = {name: await _costs(hall, work) for name, work in WORK.items()}
    for name in WORK:
        for statement, cost in after[name].items():
            assert not cost.whole & BIG, f"{name} reads {set(cost.whole & BIG)} from end to end: {cost.statement}"
            assert not cost.tables & BIG or _is_as_cheap(cost, before[name].get(statement)), (
                f"{name}: {before[name].get(statement)}, {cost}"
            )


def _is_as_cheap(cost: Cost, before: Cost | None) -> bool:
    """The same rows were looked at, and no more pages than finding each of them takes: what an index is read past shows in pages alone."""
    if before is None:
        return cost.rows < 500 and cost.blocks < 3 * cost.rows + 50
    return cost.rows <= before.rows * 1.1 + 10 and (cost.blocks <= before.blocks * 1.3 + 30 or cost.blocks <= 3 * cost.rows + 30)


async def _costs(hall: Hall, work: Callable[[Hall], Awaitable[object]]) -> dict[str, Cost]:
    await work(hall)  # what is read once and kept is read before we listen
    with heard(hall.bot.hub.engine, hall.bot.services.engine) as statements:
        await work(hall)
    return dict(zip(statements, costs_of(hall.urls.owner, statements), strict=True))


async def _click(hall: Hall) -> None:
    said = await hall.press(hall.next())
    assert said.text == "Approved; 1 more person has to approve.", said.text


async def _deciding_click(hall: Hall) -> None:
    number = hall.next()
    await hall.press(number)
    assert (await hall.press(number, name=voters_of(number)[1])).text == "Approved; it starts now."


async def _refused_click(hall: Hall) -> None:
    """By somebody of another team."""
    number = hall.next()
    assert "can decide it now" in (await hall.press(number, name=voters_of(number + 1)[0])).text


async def _inbox(hall: Hall) -> None:
    person, rulebook = await hall.person("voter007"), await hall.bot.hub.rulebook()
    found = await hall.bot.hub.read(lambda session: waiting_for(session, rulebook, person, limit=20))
    assert len(found.waiting) == 20
    assert found.more
    assert all(card_of_waiting(one, rulebook).buttons for one in found.waiting)
    await hall.bot.hub.read(lambda session: waiting_for(session, rulebook, person, limit=20, after=found.more))
    await hall.bot.hub.read(lambda session: reviews_for(session, rulebook, person))


async def _tending(hall: Hall) -> None:
    await hall.make_due(hall.next())
    assert await tend_requests(hall.bot.services) == 1
    await ask_for_reviews(hall.bot.services)
    await count_all(hall.bot.services)
    async with hall.bot.services.transaction() as session:
        await tend_grants(session, chat="room")
        await find_due(session, statuses=(RunStatus.queued, RunStatus.running), quiet=1.0, limit=256)


async def _announcing(hall: Hall) -> None:
    await hall.press(hall.next())
    while await announce(hall.bot.services, {"room": Room()}):
        pass
    async with hall.bot.services.reading() as session:
        await next_due(session)


async def _rerouting(hall: Hall) -> None:
    async with transaction(hall.bot.owner) as session:
        await session.execute(text("UPDATE approval_requests SET voters = 'others' WHERE run_id = :run"), {"run": run_id(hall.next())})
    await reroute(hall.bot.services)


async def _reading(hall: Hall) -> None:
    async with hall.bot.services.reading() as session:
        request = await find_request(session, run_id(OPEN))
        assert request is not None
        await find_decisions(session, request.id, withdrawn=True)
    await levels_text(hall.bot.hub)


async def _one(found: Awaitable[dict[str, Person]]) -> Person:
    (person,) = (await found).values()
    return person


WORK: dict[str, Callable[[Hall], Awaitable[object]]] = {
    "a click": _click,
    "the deciding click": _deciding_click,
    "a refused click": _refused_click,
    "an inbox": _inbox,
    "tending": _tending,
    "announcing": _announcing,
    "rerouting": _rerouting,
    "reading": _reading,
}
