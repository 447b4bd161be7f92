"""A storm: many messages for many channels of a Slack that often fails, sent by several housekeepers at once."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from automations.delivering import BUDGETS, Slack
from automations.housekeeping.sending import CALL_SECONDS, Sender
from automations.services import open_services
from countersign.runs import RunStatus
from integrations.slack.clients import SlackClient
from store.databases import transaction
from store.lanes import keep_budgets
from store.messages import NewMessage, add_messages, tell_run
from store.runs import Move, NewRun, create, move
from tests.bot.slack.doors import settings_of
from tests.fakes.slack import Message, SlackFake
from tests.hubs import World, disposing

WRITES = ("chat.postMessage", "chat.update")
FAULTS = ("429", "500", "drop", "500_after", "drop_after")
WORDS = "line {}"


@dataclass
class Storm:
    """Channels with so many cards each, so many lines beneath each card; every card is edited at the end."""

    engine: AsyncEngine
    fake: SlackFake
    channels: int
    cards: int
    lines: int
    runs: list[UUID] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Messages: cards and lines."""
        return self.channels * self.cards * (1 + self.lines)

    async def ask(self) -> None:
        """The runs, their cards, and what was said about them."""
        places = [f"C{channel:04}" for channel in range(self.channels) for _ in range(self.cards)]
        news = [_run() for _ in places]
        self.runs = [one.id for one in news]
        async with transaction(self.engine) as session:
            await create(session, news)
            said = (
                "INSERT INTO conversations (id, run_id, kind, person, said) SELECT gen_random_uuid(), r.id, 'comment', 'ada', 'line ' || n"
                " FROM unnest(cast(:runs AS uuid[])) r(id), generate_series(1, :lines) n ORDER BY n"
            )
            await session.execute(text(said), {"runs": self.runs, "lines": self.lines})
            await add_messages(session, [NewMessage(run, "card", "slack", "T1", at) for run, at in zip(self.runs, places, strict=True)])

    async def vote(self) -> None:
        """Somebody votes on every run, which each card shows at once."""
        for run in self.runs:
            async with transaction(self.engine) as session:
                await tell_run(session, run)

    async def end(self) -> None:
        """Every run ends, which its card has to show."""
        async with transaction(self.engine) as session:
            ended = [Move(run, RunStatus.cancelled, by="ada", because="the storm is over") for run in self.runs]
            assert len(await move(session, ended)) == len(self.runs)

    async def waiting(self) -> list[Any]:
        query = "SELECT lane, shown, attempts, error, dead_at FROM messages WHERE due_at IS NOT NULL LIMIT 100"
        async with transaction(self.engine) as session:
            return list((await session.execute(text(query))).all())

    async def until_calm(self, *, seconds: float) -> None:
        """Until nothing waits any more; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while left := await self.waiting():
            assert time.monotonic() < deadline, f"{left[:3]} wait after {seconds} s"
            await asyncio.sleep(0.2)

    def shown(self) -> dict[str, list[Message]]:
        """What each channel shows, as anybody there sees it."""
        found = defaultdict(list)
        for message in self.fake.world.messages:
            found[message.channel].append(message)
        return found

    def history(self, channel: str) -> str:
        """What was called there, for whoever has to find out what went wrong."""
        calls = [one for one in self.fake.requests if one.params.get("channel") == channel]
        lines = []
        for one in calls:
            key = ((one.params.get("metadata") or {}).get("event_payload") or {}).get("key", "")[-6:]
            at = one.params.get("thread_ts") or one.params.get("ts") or ""
            lines.append(f"{one.at - calls[0].at:8.3f} {one.method} {key} {at} {one.status} {one.error}")
        return "\n".join(lines)

    def gaps(self) -> list[float]:
        """Seconds between one call that writes to a channel and the next one there, failed ones too."""
        times: dict[str, list[float]] = defaultdict(list)
        for call in self.fake.requests:
            if call.method in WRITES:
                times[call.params["channel"]].append(call.at)
        return [after - before for one in times.values() for before, after in itertools.pairwise(one)]


def _run() -> NewRun:
    return NewRun(
        key=str(uuid4()),
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
    )


@asynccontextmanager
async def storm_of(
    world: World, *, senders: int, seed: int, share: float, channels: int, cards: int, lines: int, counted: bool = False
) -> AsyncIterator[Storm]:
    """The storm, and housekeepers that send, each with its own connections to Postgres and to Slack; `counted`: which counts calls."""
    async with SlackFake() as fake, disposing(world.engine(role="owner")) as engine, AsyncExitStack() as stack:
        for one in range(channels):
            fake.add_channel(f"C{one:04}")
        if not counted:
            fake.lift_tiers()
        fake.fail_often(*WRITES, "conversations.history", "conversations.replies", seed=seed, share=share, modes=FAULTS)
        settings_of(world, fake)
        async with transaction(engine) as session:
            await keep_budgets(session, BUDGETS if counted else dict.fromkeys(BUDGETS, (0.001, 1_000)))
        for number in range(senders):
            await stack.enter_async_context(sender(world, fake, number))
        yield Storm(engine, fake, channels, cards, lines)


@asynccontextmanager
async def sender(world: World, fake: SlackFake, number: int) -> AsyncIterator[None]:
    services = open_services(world.settings(role="worker"), name=f"housekeeping:{number}", pool=4)
    async with SlackClient(fake.bot_token, base_url=fake.api_url, timeout=CALL_SECONDS, hooks_base=fake.hooks_base) as client:
        task = asyncio.create_task(Sender(services, {"slack": Slack(services, client)}, asyncio.Event()).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await services.close()


def numbers(messages: list[Message], thread: str) -> list[int]:
    """The numbers of the lines in a thread, as they stand there."""
    return [int(one.text.rpartition(" ")[2]) for one in messages if one.thread == thread]


def figures(storm: Storm, seconds: float) -> dict[str, Any]:
    """What there is to say about it."""
    calls = [call for call in storm.fake.requests if call.method in WRITES]
    return {
        "messages": storm.size,
        "channels": storm.channels,
        "edits": len(storm.runs),
        "calls": len(storm.fake.requests),
        "writes": len(calls),
        "faults": storm.fake.faults,
        "seconds": round(seconds, 1),
        "shortest gap in a channel": round(min(storm.gaps()), 3),
    }
