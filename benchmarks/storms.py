"""An alert storm: 1,000 alerts in 50 groups into one channel of a Slack that takes one message a second there and answers 429 to more.

In its midst an approval is asked in the same channel. Counted in Slack itself: posts, what was refused, whether every card says all of
its alerts. The other side posts each alert once as it comes, as a forwarder of twenty lines does: what is answered with 429 is lost.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text

from automations.delivering import Slack
from automations.housekeeping.sending import CALL_SECONDS, Sender
from automations.housekeeping.taking import take_always
from automations.services import Services as WorkerServices
from automations.services import open_services
from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from integrations.slack.clients import SlackClient
from store.databases import WriteSession, transaction
from store.hookdeliveries import NewDelivery, keep_deliveries
from store.messages import NewMessage, Priority, add_messages
from store.migrating import migrate
from store.runs import NewRun, create
from store.triggers import add_trigger
from tests.bot.slack.doors import settings_of
from tests.fakes.slack import SlackFake
from tests.hubs import World
from tests.stories.alarms import notification

GROUPS, ALERTS, STEPS = 50, 20, 4
CHANNEL = "C_ALERTS"
NAIVE = "each alert posted once"
CALM_SECONDS = 400.0
POSTS = "posts of alerts"
WHOLE = "cards that say all of their alerts"
LOST = "alerts lost"
REFUSED = "answers of 429"
GIVEN_UP = "messages given up"
APPROVAL = "approval shown after, s"
OVER = "storm over after, s"


@dataclass
class Sky:
    """The hub's background work, and the Slack that it talks to."""

    world: World
    services: WorkerServices
    fake: SlackFake
    woken: asyncio.Event
    taken: asyncio.Event
    trigger: UUID

    async def deliver(self) -> None:
        """Each group tells four times, each time of five alerts more, as they would come within a second or two."""
        for step in range(1, STEPS + 1):
            told = [self._delivery(f"svc-{n:02}", ALERTS * step // STEPS) for n in range(GROUPS)]
            async with self.services.statement() as session:
                await keep_deliveries(session, told)
            self.taken.set()
            await asyncio.sleep(0.5)

    def _delivery(self, group: str, count: int) -> NewDelivery:
        body = notification(*(f"host-{n:02}" for n in range(count)), group=group)
        return NewDelivery(self.trigger, body.decode(), len(body))

    async def ask(self) -> float:
        """Seconds until a request for an approval is shown in the channel."""
        run = _run("approve me")
        began = time.monotonic()
        async with self.services.transaction() as session:
            await create(session, [run])
            await add_messages(session, [NewMessage(run.id, "card", "slack", "T1", CHANNEL, priority=Priority.approval)])
        self.woken.set()
        while not any(f"run {run.id}" in one.content or "approve me" in one.content for one in self.fake.world.messages):
            if time.monotonic() - began > CALM_SECONDS:
                raise BenchmarkError("The approval's card was never shown.")
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def calm(self) -> None:
        """Until nothing waits: no delivery and no message."""
        waits = text(
            "SELECT (SELECT count(*) FROM messages WHERE due_at IS NOT NULL AND dead_at IS NULL)"
            " + (SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL)"
        )
        deadline = time.monotonic() + CALM_SECONDS
        while True:
            async with self.services.reading() as session:
                if not (await session.execute(waits)).scalar_one():
                    return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"The storm was not over after {CALM_SECONDS:.0f} s.")
            await asyncio.sleep(0.2)

    async def figures(self, *, approval: float, seconds: float) -> Mapping[str, float]:
        posts = [one for one in self.fake.calls("chat.postMessage") if one.params.get("channel") == CHANNEL]
        cards = [one for one in self.fake.world.messages if one.channel == CHANNEL and "HighLatency" in one.content]
        async with self.services.reading() as session:
            dead = (await session.execute(text("SELECT count(*) FROM messages WHERE dead_at IS NOT NULL"))).scalar_one()
            alerts = (await session.execute(text("SELECT count(*) FROM alerts WHERE status = 'firing'"))).scalar_one()
        return {
            POSTS: float(len([one for one in posts if one.status == 200]) - 1),
            WHOLE: float(sum(f"{ALERTS} firing" in one.content for one in cards)),
            LOST: float(GROUPS * ALERTS - alerts),
            REFUSED: float(sum(one.status == 429 for one in self.fake.requests)),
            GIVEN_UP: float(dead),
            APPROVAL: approval,
            OVER: seconds,
        }


async def measure(services: Services, options: Options) -> list[Figure]:
    """One storm of each side in each round; one of ours takes a minute."""
    return await interleaved({OURS: partial(_ours, services), NAIVE: _naive}, rounds=options.rounds)


async def _ours(services: Services) -> Mapping[str, float]:
    async with _sky(services) as sky:
        began = time.monotonic()
        _, approval = await asyncio.gather(sky.deliver(), _later(sky))
        await sky.calm()
        return await sky.figures(approval=approval, seconds=time.monotonic() - began)


async def _naive() -> Mapping[str, float]:
    """The same alerts within the same two seconds, eight posts at once, to a Slack of its own."""
    room = asyncio.Semaphore(8)
    async with SlackFake() as fake, httpx.AsyncClient(headers={"Authorization": f"Bearer {fake.bot_token}"}) as client:
        fake.add_channel(CHANNEL)
        began = time.monotonic()

        async def post(group: int, host: int) -> int:
            async with room:
                told = {"channel": CHANNEL, "text": f"svc-{group:02}: HighLatency on host-{host:02}"}
                return (await client.post(f"{fake.api_url}chat.postMessage", json=told)).status_code

        said = []
        for step in range(STEPS):
            hosts = range(ALERTS * step // STEPS, ALERTS * (step + 1) // STEPS)
            said += await asyncio.gather(*(post(group, host) for group in range(GROUPS) for host in hosts))
            await asyncio.sleep(0.5)
        return {
            POSTS: float(said.count(200)),
            LOST: float(GROUPS * ALERTS - len(fake.world.messages)),
            REFUSED: float(said.count(429)),
            OVER: time.monotonic() - began,
        }


async def _later(sky: Sky) -> float:
    """In the midst of it, when some cards are there and most are not."""
    await asyncio.sleep(8)
    return await sky.ask()


@asynccontextmanager
async def _sky(services: Services) -> AsyncIterator[Sky]:
    folder = services.folder / f"storm-{secrets.token_hex(3)}"
    folder.mkdir()
    name = f"storm_{secrets.token_hex(3)}"
    services.postgres.create_database(name)
    urls = services.postgres.urls_for(name)
    await asyncio.to_thread(migrate, urls.owner)
    world = World(urls, services.redis.url, folder)
    await world.prepare()
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(SlackFake())
        fake.add_channel(CHANNEL)
        settings_of(world, fake)
        worker = open_services(world.settings(role="worker"), name="housekeeping:storm", pool=6)
        stack.push_async_callback(worker.close)
        trigger = await _trigger(worker)
        client = await stack.enter_async_context(SlackClient(fake.bot_token, base_url=fake.api_url, timeout=CALL_SECONDS))
        sky = Sky(world, worker, fake, asyncio.Event(), asyncio.Event(), trigger)
        jobs: Sequence[asyncio.Task[None]] = [
            asyncio.create_task(Sender(worker, {"slack": Slack(worker, client)}, sky.woken).run()),
            asyncio.create_task(take_always(worker, sky.taken)),
        ]
        try:
            yield sky
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)


async def _trigger(worker: WorkerServices) -> UUID:
    made, run = uuid4(), _run("add the trigger")
    async with transaction(worker.engine) as session:
        await create(session, [run])
        await _add(session, worker, made, run.id)
    return made


async def _add(session: WriteSession, worker: WorkerServices, trigger: UUID, run: UUID) -> None:
    await add_trigger(
        session,
        trigger,
        name="prometheus",
        kind="alertmanager",
        sender="bearer",
        body={"channel": CHANNEL, "runbooks": "", "run": "", "mapping": "", "only": ""},
        secret=worker.hook_sealer.seal(secrets.token_hex(16)),
        account="ada",
        holder="ada",
        run=run,
    )


def _run(reason: str) -> NewRun:
    return NewRun(
        key=uuid4().hex,
        command="deploy",
        code_version="c1",
        risk=2,
        visibility="staff",
        asker="ada",
        door="api",
        place={"platform": "api"},
        arguments={},
        origins={},
        policy="p",
        reason=reason,
    )


if __name__ == "__main__":
    programs.main(measure)
