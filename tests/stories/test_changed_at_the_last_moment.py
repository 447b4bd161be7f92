"""A worker begins, and at that moment somebody edits, takes back or withdraws: one of them is first, and the answer says which."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from kit.servers import Servers
from store.approvals import find_request
from store.databases import reading
from store.people import Person, find_people
from store.runs import RunRow, find_run
from tests.hubs import World, disposing, until
from tests.stories.ships import book, write_ships

ROUNDS = 24
POLICY = """
profile: strict
people: {ada: {groups: [askers]}, lin: {groups: [leads]}, kim: {groups: [leads]}}
roles: {asker: ["ship:run"], approver: ["ship:approve"]}
groups: {askers: [asker], leads: [approver]}
"""


@pytest.fixture
async def world(servers: Servers, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    made = World(servers.fresh_database(), redis_url, tmp_path, policy=POLICY)
    made.extra["COUNTERSIGN_COMMANDS"] = str(write_ships(tmp_path))
    await made.prepare()
    with made.workers():
        yield made


async def test_whoever_is_first_is_told_so_and_nothing_unapproved_is_done(world: World, tmp_path: Path) -> None:
    dice = random.Random()
    async with open_hub(world.settings()) as hub, disposing(world.engine()) as engine:
        async with reading(engine) as session:
            people = await find_people(session, ["ada", "lin", "kim"])
        runs = [await _waiting(hub, engine, people["ada"], what=f"tea-{n}") for n in range(ROUNDS)]
        counts: Counter[str] = Counter()
        for n, run in enumerate(runs):
            what = ("edit", "takeback", "withdraw")[n % 3]
            counts[await _race(hub, engine, people, run, what=what, delay=dice.uniform(0, 0.12), folder=tmp_path)] += 1
    print(f"changed at the last moment: {dict(counts)}")
    assert sum(counts.values()) == ROUNDS


async def test_a_vote_on_its_way_does_not_count_for_what_was_made_of_it(world: World, tmp_path: Path) -> None:
    async with open_hub(world.settings()) as hub, disposing(world.engine()) as engine:
        async with reading(engine) as session:
            people = await find_people(session, ["ada", "lin", "kim"])
        for n in range(6):
            run = await _waiting(hub, engine, people["ada"], what=f"tea-{n}")
            shown = run.digest or ""
            edit = Press(str(uuid4()), "edit", str(run.id), Door.browser, digest=shown, answers={"what": f"coffee-{n}"})
            votes = [Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=shown) for _ in range(2)]
            told = await asyncio.gather(
                hub.press(people["lin"], votes[0]), hub.press(people["ada"], edit), hub.press(people["kim"], votes[1])
            )
            row = await _resting(engine, run.id)
            if row.status == "succeeded":
                assert "has begun" in told[1].text, told
                assert f"tea-{n} to staging" in book(tmp_path)
                continue
            assert "Changed what" in told[1].text, told
            assert row.status == "awaiting_approval"
            async with reading(engine) as session:
                request = await find_request(session, run.id)
                rows = await session.execute(
                    text("SELECT 1 FROM decisions WHERE request_id = :id"), {"id": request.id if request else None}
                )
            assert rows.all() == [], "no vote for the plan before counts for the one after"
            late = await hub.press(people["lin"], Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=shown))
            assert "The plan has changed since this card was shown" in late.text
        assert not any("coffee" in line for line in book(tmp_path))


async def _race(hub: Hub, engine: AsyncEngine, people: dict[str, Person], run: RunRow, *, what: str, delay: float, folder: Path) -> str:
    name = str(run.arguments["what"])
    await hub.press(people["lin"], Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=run.digest or ""))
    reply = await hub.press(people["kim"], Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=run.digest or ""))
    assert "it starts now" in reply.text
    await asyncio.sleep(delay)  # anywhere around the moment at which a worker takes it
    if what == "edit":
        press = Press(str(uuid4()), "edit", str(run.id), Door.browser, digest=run.digest or "", answers={"what": f"{name}-changed"})
        told = (await hub.press(people["ada"], press)).text
    else:
        who = people["kim" if what == "takeback" else "ada"]
        told = (await hub.submit(who, Invocation(str(uuid4()), Door.browser, Place("room", "", "ops"), text=f"{what} {run.id}"))).reply.text
    row = await _resting(engine, run.id)
    done = [line for line in book(folder) if line.startswith((f"{name} ", f"{name}-"))]
    story = f"{what} after {delay:.3f} s: {told!r}, {row.status}, {done}"
    if "begun" in told or "has ended already" in told:
        assert (row.status, done) == ("succeeded", [f"{name} to staging"]), story
        return f"{what}: too late"
    assert done == [], story
    assert row.status == ("cancelled" if what == "withdraw" else "awaiting_approval"), story
    assert any(words in told for words in ("Changed what", "taken back in time", "is withdrawn")), story
    return f"{what}: in time"


async def _waiting(hub: Hub, engine: AsyncEngine, ada: Person, *, what: str) -> RunRow:
    answer = await hub.submit(ada, Invocation(str(uuid4()), Door.browser, Place("room", "", "ops"), text=f"ship {what}"))
    assert answer.run_id is not None, answer.reply.text
    row = await _resting(engine, answer.run_id)
    assert row.status == "awaiting_approval", row.outcome
    return row


async def _resting(engine: AsyncEngine, run: UUID) -> RunRow:
    async def look() -> RunRow | None:
        async with reading(engine) as session:
            row = await find_run(session, run)
        return row if row and row.status in ("awaiting_approval", "succeeded", "cancelled", "failed") else None

    found: RunRow = await until(look, what=f"run {run} rests")
    return found
