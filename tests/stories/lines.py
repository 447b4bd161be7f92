"""A hub whose line to Postgres is bad: requests with one key each, what was answered, and whether the database agrees."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.chaos.grounds import COMMANDS
from bot.deadlines import NotConfirmed, NothingDone, answering
from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from kit.servers import Servers
from store.databases import reading, transaction
from store.people import Account, link_account
from tests.fakes.proxies import DelayingProxy
from tests.hubs import World, disposing
from tests.stories.waiting import WaitingRun, make_waiting

POLICY = """
profile: strict
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {runner: ["chaos:run"], approver: ["chaos:approve", "countersign:admin"]}
groups: {staff: [runner], leads: [approver]}
"""
ADA, LIN = Account("slack", "T1", "U-ADA"), Account("slack", "T1", "U-LIN")
LONGEST_SECONDS: Final = 2.5
Kind = Literal["submit", "press", "control"]
KINDS: Final[tuple[Kind, ...]] = ("submit", "submit", "press", "control")
Said = Literal["done", "nothing done", "not confirmed"]


@dataclass
class Asked:
    """One request, which keeps its key however often it is repeated; `effect` is the SQL that counts what it did."""

    key: str
    kind: Kind
    run: WaitingRun | None = None
    said: Said = "done"
    sentence: str = ""
    seconds: float = 0.0
    run_id: Any = None


@dataclass
class Line:
    """The proxy between a hub and Postgres, the hub, and a direct connection that knows the truth."""

    world: World
    servers: Servers
    proxy: DelayingProxy
    hub: Hub
    direct: AsyncEngine
    asked: list[Asked] = field(default_factory=list)
    spare: list[WaitingRun] = field(default_factory=list)

    def new(self, kind: Kind) -> Asked:
        """A request not made before; a press and a control each have a waiting run of their own."""
        one = Asked(f"line-{len(self.asked)}-{kind}", kind, None if kind == "submit" else self.spare.pop())
        self.asked.append(one)
        return one

    async def ask(self, one: Asked) -> Asked:
        """Makes or repeats the request the way a door does: who is it, then what do they want, in one budget."""
        began = time.monotonic()
        try:
            with answering():
                one.sentence = await self.deliver(one)
            one.said = "done"
        except NotConfirmed as error:
            one.said, one.sentence = "not confirmed", str(error)
        except NothingDone as error:
            one.said, one.sentence = "nothing done", str(error)
        one.seconds = time.monotonic() - began
        return one

    async def deliver(self, one: Asked) -> str:
        """The answer, or the error that a door turns into one."""
        person = await self.hub.person(ADA if one.kind == "submit" else LIN)
        assert person is not None
        if one.kind == "press":
            assert one.run is not None
            return (await self.hub.press(person, Press(one.key, "approve", str(one.run.id), Door.slack, digest=one.run.digest))).text
        invocation = Invocation(one.key, Door.slack, Place("slack", "T1", "C1"))
        if one.run is not None:
            return (await self.hub.submit(person, replace(invocation, text=f"cancel {one.run.id}"))).reply.text
        answer = await self.hub.submit(person, replace(invocation, command="book", arguments={"name": one.key}))
        one.run_id = answer.run_id
        return answer.reply.text

    async def effects(self, one: Asked) -> int:
        """How often the request took effect, as Postgres has it; more than one kind of trace must agree."""
        queries = {
            "submit": "SELECT (SELECT count(*) FROM runs WHERE arguments->>'name' = :key), (SELECT count(*) FROM inbox WHERE key = :key),"
            " (SELECT count(*) FROM audit_events WHERE kind = 'run:submitted'"
            " AND audit_detail(canonical, payload) #>> '{arguments,name}' = :key)",
            "press": "SELECT (SELECT count(*) FROM decisions WHERE run_id = :run), (SELECT count(*) FROM inbox WHERE key = :key),"
            " (SELECT count(*) FROM audit_events WHERE kind LIKE 'decision:%' AND run_id = :run)",
            "control": "SELECT (SELECT count(*) FROM runs WHERE id = :run AND status = 'cancelled'), (SELECT count(*) FROM inbox"
            " WHERE key = :key), (SELECT count(*) FROM audit_events WHERE kind = 'cancel:asked' AND run_id = :run)",
        }
        async with reading(self.direct) as session:
            found = (await session.execute(text(queries[one.kind]), {"key": one.key, "run": one.run and one.run.id})).one()
        assert len(set(found)) == 1, f"{one} left half an effect: {found}"
        return int(found[0])

    async def well_again(self, *, within: float = 8.0) -> float:
        """Returns how long it took until requests are carried out again; those tried meanwhile are kept for the check."""
        began = time.monotonic()
        while True:
            if (await self.ask(self.new("submit"))).said == "done":
                return time.monotonic() - began
            assert time.monotonic() - began < within, "the hub does not recover"
            await asyncio.sleep(0.1)


async def check(line: Line, story: str) -> None:
    """Answers against the database; then everything is repeated with its key, and has exactly one effect."""
    counts: Counter[str] = Counter()
    for one in line.asked:
        effects = await line.effects(one)
        counts[f"{one.said}{', yet it was' if effects and one.said == 'not confirmed' else ''}"] += 1
        assert one.seconds < LONGEST_SECONDS, f"{story}: {one} was answered late"
        allowed = {"done": {1}, "nothing done": {0}, "not confirmed": {0, 1}}[one.said]
        assert effects in allowed, f"{story}: {one} contradicts the database, which has {effects}"
    print(f"{story}: {len(line.asked)} requests, the slowest {max(one.seconds for one in line.asked):.2f} s: {dict(counts)}")
    for one in list(line.asked):
        await line.ask(one)
        assert one.said == "done", f"{story}: {one} cannot be repeated"
        assert await line.effects(one) == 1, f"{story}: {one} was repeated and has more than one effect"


@asynccontextmanager
async def bad_line(servers: Servers, folder: Path, *, waiting: int) -> AsyncIterator[Line]:
    """A hub behind a proxy that is well so far, and `waiting` runs to decide on."""
    world = World(servers.fresh_database(), "", folder, policy=POLICY)
    await world.prepare()
    world.extra["COUNTERSIGN_COMMANDS"] = str(COMMANDS)
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(disposing(world.engine()))
        async with transaction(direct) as session:
            for account, name in ((ADA, "ada"), (LIN, "lin")):
                await link_account(session, account, name, by="test")
            spare = await make_waiting(session, [1] * waiting, asker="ada", by="chaos:approve")
        proxy = await stack.enter_async_context(proxied(world))
        hub = await stack.enter_async_context(open_hub(world.settings()))
        yield Line(world, servers, proxy, hub, direct, spare=spare)
        proxy.resume()
        proxy.delay = 0


@asynccontextmanager
async def proxied(world: World) -> AsyncIterator[DelayingProxy]:
    """From now on this world's web processes reach Postgres by way of a proxy."""
    async with DelayingProxy("127.0.0.1", int(str(make_url(world.urls.web).query["port"]))) as proxy:

        def behind(url: str) -> str:
            return make_url(url).set(query={"host": "127.0.0.1", "port": str(proxy.port)}).render_as_string(hide_password=False)

        world.urls = replace(world.urls, web=behind(world.urls.web), listen=behind(world.urls.listen))
        yield proxy


async def true(value: object) -> bool:
    """For `until`, what is already known."""
    return bool(value)
