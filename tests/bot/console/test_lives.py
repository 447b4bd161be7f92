"""Open pages are told what has changed of what they show: lists and inboxes themselves, made once for all who see the same."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from bot.console.follows import Follows
from bot.console.frames import Here
from bot.console.sessions import Visitor
from store.databases import WriteSession, transaction
from store.people import Person
from store.tokens import end_token
from tests.bot.plans import COMMANDS, plan_by_hand
from tests.bot.webs import Web, served
from tests.hubs import World, disposing

LATE_SECONDS = 30.0  # two on a machine of its own, which the benchmark minds


class Stream:
    """The events of one open page."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self, *wanted: str) -> tuple[str, str]:
        """The next event of these kinds: its name and its data."""
        async with asyncio.timeout(LATE_SECONDS):
            name, data = "", list[str]()
            while True:
                line = await anext(self._lines)
                kind, _, value = line.partition(": ")
                if not line:
                    if name in wanted:
                        return name, "\n".join(data)
                    name, data = "", []
                elif kind == "event":
                    name = value
                elif kind == "data":
                    data.append(value)

    async def ended(self) -> bool:
        async with asyncio.timeout(LATE_SECONDS):
            return not [line async for line in self._lines if line.startswith("event: ") and line != "event: same"]


@asynccontextmanager
async def opened(client: httpx.AsyncClient, **query: Any) -> AsyncIterator[Stream]:
    async with client.stream("GET", "/console/events", params=query, timeout=None) as answer:
        assert answer.status_code == 200
        stream = Stream(answer.aiter_lines())
        await stream.next("same", "changed", "region")
        yield stream


@pytest.fixture
async def web(world: World, tmp_path: Path) -> AsyncIterator[Web]:
    (tmp_path / "valves").mkdir()
    (tmp_path / "valves" / "valves.py").write_text(COMMANDS)
    async with served(world, COMMANDS=str(tmp_path / "valves")) as made:
        yield made


async def test_lists_that_several_have_open_are_told_what_they_show_now(web: Web, world: World) -> None:
    lin, kim = (await web.browser("lin")).client, (await web.browser("kim")).client
    async with (
        await web.caller("max") as max_,
        opened(lin, list="runs", status="open") as open_,
        opened(kim, list="runs") as all_,
        opened(kim, list="runs", asker="eve") as eves,
    ):
        asked = {"command": "open valve", "arguments": {"valve": "m1", "code": "s3cret-s3cret"}}
        run = (await max_.post("/api/v1/runs", json=asked)).json()
        (_, first), (_, same) = await open_.next("region"), await all_.next("region")
        assert first.replace("status=open", "") == same.replace("status=open", "")
        assert f">{run['number']}</a>" in first
        assert "valve=m1" in first or "m1" in first
        assert "s3cret" not in first
        await max_.post(f"/api/v1/runs/{run['id']}/cancel")
        assert f">{run['number']}</a>" not in (await open_.next("region"))[1]
        assert "cancelled" in (await all_.next("region"))[1]
        follows: Follows = web.app.state.follows
        assert len(follows._lists) == 3
        await max_.post("/api/v1/runs", json={"command": "look inside", "reason": "hidden"})
        assert await all_.next("region", "changed") == ("changed", "1"), "of what not everybody may see each reads their own"
        assert "No run that you may see is like this" in (await eves.next("region"))[1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await eves.next("region", "changed")


async def told(stream: Stream, client: httpx.AsyncClient, run: str, tab: str = "") -> str:
    """A run's item in an open inbox after the next event about it, as the script would have it then: the item, or nothing."""
    while True:
        name, data = await stream.next("items", "changed")
        if name == "changed":  # somebody has signed in lately, which may be about anybody's rights
            page = (await client.get("/inbox", params={"tab": tab})).text
            return page if f'id="r-{run}"' in page else ""
        items = json.loads(data)
        if f"r-{run}" in items:
            return items[f"r-{run}"] or ""


async def test_an_inbox_is_told_what_comes_and_goes(web: Web, world: World) -> None:
    lin, ada = (await web.browser("lin")).client, (await web.browser("ada")).client
    async with (
        await web.caller("max") as max_,
        await web.caller("kim") as deciding,
        opened(lin, list="inbox", tab="") as lins,
        opened(ada, list="inbox", tab="") as adas,
    ):
        run = (await max_.post("/api/v1/runs", json={"command": "grant", "arguments": {"person": "eve", "role": "deployer"}})).json()["id"]
        digest = await plan_by_hand(world, run)
        while not (item := await told(lins, lin, run)):
            continue
        assert "Approve" in item
        assert digest in item
        decided = await deciding.post(f"/api/v1/runs/{run}/decisions", json={"verdict": "approve", "digest": digest})
        assert decided.status_code == 200, decided.text
        while await told(lins, lin, run):
            continue
        assert await told(adas, ada, run) == "", "Ada may not decide on it"


async def test_whoever_asked_is_told_how_far_it_is(web: Web) -> None:
    kim = (await web.browser("kim")).client
    async with await web.caller("kim") as asking, opened(kim, list="inbox", tab="asked") as kims:
        run = (await asking.post("/api/v1/runs", json={"command": "look inside"})).json()["id"]
        assert "look inside" in await told(kims, kim, run, "asked")
        await asking.post(f"/api/v1/runs/{run}/cancel")
        while await told(kims, kim, run, "asked"):
            continue


async def test_an_item_that_many_are_told_has_nobodys_token(web: Web, world: World) -> None:
    lin = (await web.browser("lin")).client
    async with await web.caller("max") as max_:
        run = (await max_.post("/api/v1/runs", json={"command": "grant", "arguments": {"person": "eve", "role": "deployer"}})).json()["id"]
        await plan_by_hand(world, run)
    here = Here(Visitor(Person("lin", True, frozenset({"leads"}), frozenset()), (), "a-token", "", uuid4()))
    with web.app.state.trays.reading(here.visitor.person, ""):
        item = json.loads(await web.app.state.trays.items(here, "", [UUID(run)]))[f"r-{run}"]
    assert 'name="csrf" value=""' in item
    assert 'name="as" value=""' in item
    assert item.count("<form") == (await lin.get("/inbox")).text.count('action="/room/press"')


async def test_an_item_that_is_told_may_be_chosen_as_the_pages_own(web: Web, world: World) -> None:
    lin = (await web.browser("lin")).client
    async with await web.caller("max") as max_:
        runs = []
        for role in ("deployer", "approver"):
            asked = {"command": "grant", "arguments": {"person": "eve", "role": role}}
            runs.append((await max_.post("/api/v1/runs", json=asked)).json()["id"])
            await plan_by_hand(world, runs[-1])
    page = (await lin.get("/inbox")).text
    here = Here(Visitor(Person("lin", True, frozenset({"leads"}), frozenset()), (), "", "", uuid4()))
    with web.app.state.trays.reading(here.visitor.person, ""):
        items = json.loads(await web.app.state.trays.items(here, "", [UUID(one) for one in runs]))
    assert "checkbox" in chosen_by(items[f"r-{runs[0]}"])
    assert [chosen_by(items[f"r-{one}"]) for one in runs] == [chosen_by(page[page.index(f'id="r-{one}"') :]) for one in runs]
    assert 'id="bulk"' in page, "what is chosen later has its form"


def chosen_by(item: str) -> str:
    found = re.search(r'<p class="pick">.*?</p>', item)
    return found.group() if found else ""


async def test_what_words_filter_is_read_again_and_not_told(web: Web) -> None:
    lin = (await web.browser("lin")).client
    for address in ("/inbox?q=berlin", "/inbox?tab=asked&q=berlin", "/runs?q=berlin", "/runs?group=leads", "/inbox?tab=done"):
        page = (await lin.get(address)).text
        assert "data-live=" in page
        assert "&amp;list=" not in page, address
    for address, stream in (("/inbox", "list=inbox"), ("/runs?status=open", "list=runs&amp;status=open")):
        assert stream in (await lin.get(address)).text


async def test_a_stream_ends_with_its_session(web: Web, world: World) -> None:
    lin, kim = (await web.browser("lin")).client, (await web.browser("kim")).client
    value = lin.cookies[next(iter(lin.cookies))]
    async with await web.caller("max") as max_, opened(lin, list="runs") as lins, opened(kim, list="runs") as kims:

        async def end(session: WriteSession) -> None:
            await end_token(session, value)

        async with disposing(world.engine(role="web")) as engine, transaction(engine) as session:
            await end(session)
        run = (await max_.post("/api/v1/runs", json={"command": "grant", "arguments": {"person": "eve", "role": "deployer"}})).json()
        assert f">{run['number']}</a>" in (await kims.next("region"))[1]
        assert await lins.ended()
