"""Every page, list, filter and search reads as much when many runs have ended as when few have."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from re import fullmatch, sub
from typing import Final
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import text

from benchmarks.mountains import pile_up
from benchmarks.pages import BEFORE, PAGES, Mountain, settle
from kit.servers import Servers
from store.databases import reading, transaction
from tests.bot.webs import web_of
from tests.hubs import World, disposing
from tests.plans import BIG, Cost, costs_of, heard
from tests.stories.tours import OTHERS, shown

A_DAY: Final = 17
FEW, MANY = 1_700, 5_100
ALL_BIG: Final = BIG | {"audit_leaves", "audit_blocks", "targets", "run_searches", "event_searches"}
# What these read is bounded inside of them, where no plan shows it; the benchmark of pages measures it.
BOUNDED: Final = ("countersign_search_runs", "countersign_search_events")
# These read the latest so many of each person, whoever has fewer.
LATEST: Final = "CROSS JOIN LATERAL (SELECT"
# Where nothing is listed, and what comes as a stream.
ELSEWHERE: Final = {*OTHERS, "/sign-in", "/enter/{token}"}


@dataclass(frozen=True)
class Found:
    """What each statement of a page cost."""

    costs: Mapping[str, Mapping[str, Cost]]


async def test_no_statement_of_a_page_costs_more_when_more_runs_have_ended(servers: Servers, tmp_path: Path) -> None:
    few, many = [await _looked(servers, tmp_path / str(runs), runs) for runs in (FEW, MANY)]
    for page, costs in many.costs.items():
        for statement, cost in costs.items():
            assert not cost.whole & ALL_BIG, f"{page} reads {set(cost.whole & ALL_BIG)} from end to end: {cost.statement}"
            before = few.costs[page].get(statement)
            if cost.tables & ALL_BIG and before and LATEST not in cost.statement:
                assert _is_as_cheap(cost, before), f"{page}: {before}, {cost}"


async def _looked(servers: Servers, folder: Path, runs: int) -> Found:
    """A hub with so many runs, of which as many came each day, and every page of it."""
    await asyncio.to_thread(folder.mkdir)
    world = World(servers.fresh_database(), "", folder, policy=BEFORE)
    await world.prepare()
    await asyncio.to_thread(pile_up, world.urls, folder, runs=runs, events=5 * runs, days=runs / A_DAY)
    async with disposing(world.engine(role="owner")) as engine:
        async with transaction(engine) as session:
            await settle(session)
        async with reading(engine) as session:
            events = list(await session.scalars(text("SELECT id FROM audit_events LIMIT 20")))
    costs: dict[str, Mapping[str, Cost]] = {}
    async with web_of(world) as web, await web.caller("max") as caller:
        assert not _unasked(web.app)
        browser, dice, mountain = (await web.browser("max")).client, Random(1), Mountain(FEW, events)
        for page, query in PAGES.items():
            path = query(dice, mountain)
            client = caller if path.startswith("/api/") else browser
            assert (await client.get(path)).status_code == 200, path
            with heard(web.hub.engine) as statements:
                assert (await client.get(path)).status_code == 200, path
            reads = {one: values for one, values in statements.items() if not any(name in one for name in BOUNDED)}
            costs[page] = dict(zip(reads, costs_of(world.urls.owner, reads), strict=True))
    return Found(costs)


def _unasked(app: FastAPI) -> set[str]:
    """The pages of the console that the benchmark does not know."""
    asked = {query(Random(1), Mountain(FEW, [UUID(int=1)])).partition("?")[0] for query in PAGES.values()}
    return {one for one in shown(app) - ELSEWHERE if not any(fullmatch(sub("{.*?}", "[^/]+", one), path) for path in asked)}


def _is_as_cheap(cost: Cost, before: Cost) -> bool:
    """The same rows are looked at; of pages a few more, as indexes grow."""
    return cost.rows <= before.rows * 1.2 + 60 and cost.blocks <= max(before.blocks * 1.5 + 30, 3 * cost.rows + 30)
