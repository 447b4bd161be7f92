"""What was approved is what runs: when the world, the code or the people are others by then, nothing is done and people are asked again."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any, Final
from uuid import uuid4

import pytest
from sqlalchemy import text

from automations.planning import plan_runs
from automations.services import open_services
from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from kit.bots import Bot, RunHandle
from kit.fixtures import open_bot
from kit.servers import Servers
from store.databases import open_engine, reading, transaction
from store.people import deactivate, find_people
from store.runs import find_runs
from tests.forks import ROOT
from tests.hubs import World, disposing, until
from tests.stories.shelves import Shelf

PENDING: Final = 100
ROOMS: Final = ("automations", "bot", "commands", "countersign", "integrations", "kit", "store")
MAY: Final = ["shelf:run", "shelf:approve"]
POLICY = """
profile: strict
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {runner: ["shelf:run"], approver: ["shelf:approve"]}
groups: {staff: [runner], leads: [approver]}
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
async def bot(servers: Servers, shelf: Shelf) -> AsyncIterator[Bot]:
    async with open_bot(servers.fresh_database(), shelf.folder, commands=shelf.commands) as made:
        yield made


async def test_a_changed_world_is_shown_and_asked_about_again(bot: Bot, shelf: Shelf) -> None:
    ada, lin = bot.cast("ada", "lin", may=MAY)
    run = await ada.say("stock tea")
    assert run.status == "awaiting_approval"
    old = run.digest
    await _approve_only(bot, "lin", run)
    shelf.fill(7)
    await bot.refresh()
    assert shelf.done == []
    assert run.status == "awaiting_approval"
    assert run.trail[-3:] == ["run:queued", "run:stale", "run:awaiting_approval"]
    assert run.digest != old
    card = await bot.card(run)
    assert "level: 1 → 7" in card.code, card
    assert any(one.label == "Approvals" and one.value == "0 of 1" for one in card.fields), card
    assert {one.digest for one in card.buttons if one.intent == "approve"} == {run.digest}
    await lin.approve(run, digest=old, expect="The plan has changed since this card was shown")
    assert shelf.done == []
    await lin.approve(run)
    assert run.succeeded
    assert shelf.done == ["tea 8"]
    assert run.trail.count("run:stale") == 1
    assert run.trail.count("decision:approve") == 2


async def test_a_world_that_never_rests_runs_nothing_that_was_not_approved(bot: Bot, shelf: Shelf) -> None:
    _, lin = bot.cast("ada", "lin", may=MAY)
    run = await bot.cast("ada")[0].say("stock tea")
    for level in range(2, 6):
        await _approve_only(bot, "lin", run)
        shelf.fill(level)
        await bot.refresh()
        assert run.status == "awaiting_approval"
        assert shelf.done == []
    await lin.approve(run)
    assert shelf.done == ["tea 6"]


@pytest.mark.parametrize("who", ["ada", "lin"])
async def test_who_has_left_by_then_moves_nothing(bot: Bot, shelf: Shelf, who: str) -> None:
    bot.cast("ada", "lin", "kim", may=MAY)
    run = await bot.cast("ada")[0].say("stock tea")
    await _approve_only(bot, "lin", run)
    async with bot.services.transaction() as session:
        assert await deactivate(session, who)
    await bot.refresh()
    assert shelf.done == []
    if who == "ada":
        assert run.status == "cancelled"
        assert run.outcome == "Nothing was done: Your account is not active any more."
    else:
        assert run.status == "awaiting_approval"
        assert run.changed == ["policy wants other approvals now, the approval waited too long, or somebody who gave it may not any more"]
        await _approve_only(bot, "kim", run)
        await bot.refresh()
        assert run.succeeded
        assert shelf.done == ["tea 2"]


async def test_an_upgraded_plugin_voids_what_was_approved_and_loses_none(servers: Servers, shelf: Shelf) -> None:
    urls = servers.fresh_database()
    async with open_bot(urls, shelf.folder, commands=shelf.commands) as before:
        before.cast("ada", "lin", may=MAY)
        await _ask(before.hub, await before.person("ada"))
        await before.settle()
        lin = await before.person("lin")
        assert await _approve_all(before.hub, lin) == PENDING
    shelf.upgrade("the next version")
    async with open_bot(urls, shelf.folder, commands=shelf.commands) as after:
        lin = await _person(after, "lin")
        await _later(urls.owner)
        await after.settle()
        assert shelf.done == []
        assert await _statuses(after) == {("awaiting_approval", 2): PENDING}
        assert await _approve_all(after.hub, lin) == PENDING
        await after.settle()
        assert await _statuses(after) == {("succeeded", 2): PENDING}
    assert sorted(shelf.done) == sorted(f"tea-{n} 2" for n in range(PENDING))


async def test_an_upgraded_hub_voids_nothing(servers: Servers, redis_url: str, shelf: Shelf) -> None:
    world = World(servers.fresh_database(), redis_url, shelf.folder, policy=POLICY)
    world.extra["COUNTERSIGN_COMMANDS"] = str(shelf.commands)
    await world.prepare()
    upgraded = _other_hub(shelf.folder / "upgraded")
    assert _versions(world, upgraded) == _versions(world, ROOT)
    async with open_hub(world.settings()) as hub, disposing(world.engine()) as engine:
        async with reading(engine) as session:
            people = await find_people(session, ["ada", "lin"])
        runs = await _ask(hub, people["ada"])
        services = open_services(world.settings(role="worker"), name="planner", pool=4)
        assert await plan_runs(services, runs) == PENDING
        await services.close()
        assert await _approve_all(hub, people["lin"]) == PENDING

        async def ended() -> bool:
            async with reading(engine) as session:
                return {one.status for one in (await find_runs(session, runs)).values()} == {"succeeded"}

        with world.workers(root=upgraded):
            await until(ended, seconds=60, what="every approved run succeeds")
        async with reading(engine) as session:
            stale = await session.execute(text("SELECT count(*) FROM audit_events WHERE kind = 'run:stale'"))
            assert stale.scalar_one() == 0
    assert sorted(shelf.done) == sorted(f"tea-{n} 2" for n in range(PENDING))


def _other_hub(folder: Path) -> Path:
    """The same hub with another code in every file of every room."""
    for room in ROOMS:
        copytree(ROOT / room, folder / room, ignore=ignore_patterns("__pycache__", "*.egg-info"))
        for path in (folder / room).rglob("*.py"):
            path.write_text(path.read_text() + "\n# a later version\n")
    return folder


def _versions(world: World, root: Path) -> dict[str, str]:
    """The code version of each plugin's command, as a hub of the checkout at `root` computes it."""
    script = (
        "import json, automations; from commands.registries import load_registry; from store.settings import Settings\n"
        "found = load_registry(folder=Settings.read().commands, runbooks=None).commands.values()\n"
        "print(json.dumps([automations.__file__, {one.name: one.code_version for one in found if one.origin.split('.')[0] != 'commands'}]))"
    )
    environment = world.environment(role="worker")
    output = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, check=True, timeout=120).stdout
    file, versions = json.loads(output)
    assert Path(file).is_relative_to(root)
    assert {"stock", "deploy"} <= set(versions)
    found: dict[str, str] = versions
    return found


async def _ask(hub: Hub, ada: Any) -> list[Any]:
    wanted = [Invocation(str(uuid4()), Door.api, Place("api"), command="stock", arguments={"name": f"tea-{n}"}) for n in range(PENDING)]
    return [answer.run_id for answer in await asyncio.gather(*(hub.submit(ada, one) for one in wanted))]


async def _approve_only(bot: Bot, name: str, run: RunHandle) -> None:
    """The click alone; nothing is executed yet."""
    reply = await bot.hub.press(await _person(bot, name), Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=run.digest))
    assert "it starts now" in reply.text


async def _later(owner: str) -> None:
    """Nobody has offered the old version for a minute now."""
    async with disposing(open_engine(owner, name="test", pool=1, door=False)) as engine, transaction(engine) as session:
        await session.execute(text("UPDATE clock SET shift = '61 seconds'"))


async def _person(bot: Bot, name: str) -> Any:
    async with bot.services.reading() as session:
        return (await find_people(session, [name]))[name]


async def _approve_all(hub: Hub, lin: Any) -> int:
    """Approves every open request with the digest it has now; returns how many clicks counted."""
    async with reading(hub.engine) as session:
        rows = (await session.execute(text("SELECT run_id, digest FROM approval_requests WHERE state = 'open'"))).all()
    said = Counter[str]()
    for row in rows:
        said[(await hub.press(lin, Press(str(uuid4()), "approve", str(row.run_id), Door.api, digest=row.digest))).text] += 1
    return said["Approved; it starts now."]


async def _statuses(bot: Bot) -> dict[tuple[str, int], int]:
    async with bot.services.reading() as session:
        rows: Sequence[Any] = (await session.execute(text("SELECT status, revision, count(*) AS n FROM runs GROUP BY 1, 2"))).all()
    return {(row.status, row.revision): row.n for row in rows}
