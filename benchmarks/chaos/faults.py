"""What is done to the ground: each fault one method, counted when it has really happened."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from automations.brokers import EXECUTING, PLANNING, WakingBroker, open_broker
from benchmarks.chaos.grounds import Ground, has_ended
from benchmarks.chaos.sizes import Size
from tests.hubs import until

HUNG_SECONDS: Final = 4.0
FULL_SECONDS: Final = 3.0
SLOW_SECONDS: Final = 3.0
DELAY_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 2.0
# The more of a role there are, and the more they do, the likelier it is hit.
ROLES: Final = ("executing", "executing", "executing", "planning", "housekeeping", "web", "executing", "planning", "web", "supervisor")
# What a wire carries when a hint is given, when it is taken and when it is acknowledged, and when a transaction ends.
LOST: Final = (("Redis", b"enqueue"), ("Redis", b"BLMOVE"), ("Redis", b"\r\nack\r\n"), ("Postgres", b"COMMIT"))


@dataclass(frozen=True)
class Held:
    """A run in the hands of a worker that died, or was paused, at this moment of the database's clock."""

    run: UUID
    attempt: int
    at: datetime
    second: float
    paused: bool


@dataclass
class Faults:
    """The storm's hands."""

    ground: Ground
    size: Size
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    held: list[Held] = field(default_factory=list)
    timeline: list[tuple[float, float, str]] = field(default_factory=list)
    _in_hand: set[int] = field(default_factory=set)
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)
    _redis: asyncio.Lock = field(default_factory=asyncio.Lock)
    _cut: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _began: float = field(default_factory=time.monotonic)
    _broker: WakingBroker | None = None

    async def strike(self) -> None:
        """Each fault at its time, beside those that are still under way."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for at, name, fault in self.schedule():
                await asyncio.sleep(max(0.0, self._began + at - time.monotonic()))
                group.create_task(self._do(name, fault))

    async def _do(self, name: str, fault: Callable[[], Awaitable[None]]) -> None:
        began = time.monotonic()
        await fault()
        self.timeline.append((began - self._began, time.monotonic() - self._began, name))

    def schedule(self) -> list[tuple[float, str, Callable[[], Awaitable[None]]]]:
        """Every fault with the second at which it begins, drawn from the dice alone."""
        size = self.size
        wanted = [
            (size.kills, self.kill),
            (size.pauses, self.pause),
            (size.redis_losses, self.lose_redis),
            (size.redis_hangs, self.hang_redis),
            (size.redis_fills, self.fill_redis),
            (size.postgres_stops, self.stop_postgres),
            (size.postgres_slow, self.slow_postgres),
            (size.disk_fills if self.ground.disk else 0, self.fill_disk),
            (size.lost_replies, self.lose_reply),
            (size.cuts, self.partition),
            (size.runs // 50, self.forge),
        ]
        drawn = [(self.dice.uniform(1.0, size.seconds), method.__name__, method) for count, method in wanted for _ in range(count)]
        return sorted(drawn, key=lambda one: one[0])

    async def kill(self) -> None:
        """SIGKILL of a process, of every role; it is held still for the moment in which is noted which runs it has."""
        if (victim := self._victim(self.dice.choice(ROLES))) is not None:
            pid, role = victim
            with contextlib.suppress(ProcessLookupError), self._struck(pid):
                os.kill(pid, signal.SIGSTOP)
                await self._note_held(pid, paused=False)
                os.kill(pid, signal.SIGKILL)
                self.done[f"SIGKILL {role}"] += 1
                await until(partial(asyncio.to_thread, has_ended, pid), what=f"{role} is dead")

    async def pause(self) -> None:
        """SIGSTOP of a process for longer than the lease; it then goes on and believes that it holds what it held."""
        wanted = self.dice.choice(ROLES)
        while (victim := self._victim(wanted)) is not None:
            pid, role = victim
            with contextlib.suppress(ProcessLookupError), self._struck(pid):  # it had just died, or did so because its parent did
                os.kill(pid, signal.SIGSTOP)
                await self._note_held(pid, paused=True)
                await asyncio.sleep(self.size.lease * 1.4)
                os.kill(pid, signal.SIGCONT)
                self.done[f"SIGSTOP {role}"] += 1
                return

    async def lose_redis(self) -> None:
        """Redis is killed and everything in it is gone."""
        async with self._redis:
            await asyncio.to_thread(self.ground.redis.wipe)
            await asyncio.to_thread(self.ground.redis.start)
            self.done["Redis lost"] += 1

    async def hang_redis(self) -> None:
        """Redis takes what is sent and says nothing."""
        async with self._redis:
            pid = int((self.ground.redis.folder / "server.pid").read_text())
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(HUNG_SECONDS)
            os.kill(pid, signal.SIGCONT)
            self.done["Redis hung"] += 1

    async def fill_redis(self) -> None:
        """Redis refuses whatever needs memory."""
        async with self._redis:
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.ground.redis.url, socket_timeout=2) as client:
                await asyncio.to_thread(client.config_set, "maxmemory", 1)
                await asyncio.sleep(FULL_SECONDS)
                await asyncio.to_thread(client.config_set, "maxmemory", 0)
                self.done["Redis full"] += 1

    async def stop_postgres(self) -> None:
        """Postgres ends at once and recovers from its log."""
        async with self._postgres:
            await asyncio.to_thread(self.ground.servers.postgres.crash)
            await asyncio.to_thread(self.ground.servers.postgres.start)
            self.done["Postgres stopped"] += 1

    async def slow_postgres(self) -> None:
        """Each message to and from Postgres takes a quarter of a second, for one of the hosts."""
        wire = self.ground.wires["Postgres"]
        wire.delay = DELAY_SECONDS
        await asyncio.sleep(SLOW_SECONDS)
        wire.delay = 0.0
        self.done["Postgres slow"] += 1

    async def fill_disk(self) -> None:
        """Nothing more fits on the disk with the tables."""
        disk = self.ground.disk
        assert disk is not None
        async with self._postgres:
            await asyncio.to_thread(disk.fill)
            try:
                await asyncio.sleep(FULL_SECONDS)
            finally:
                await asyncio.to_thread(disk.empty)
            self.done["disk full"] += 1

    async def lose_reply(self) -> None:
        """The next reply of one kind is lost on its wire although what was asked for was done."""
        kind = self.dice.randrange(len(LOST) + 1)
        if kind == len(LOST):
            self.ground.ledger.drops += 1
            self.done["replies of the outside system lost"] += 1
            return
        wire, pattern = LOST[kind]
        self.ground.wires[wire].cut_on(pattern)

    async def partition(self) -> None:
        """One host loses every connection to Postgres or to Redis at once, and gets no new one for a while."""
        name = self.dice.choice(("Postgres", "Redis"))
        wire = self.ground.wires[name]
        async with self._cut[name]:
            await wire.refuse()
            try:
                await asyncio.sleep(1.0)
            finally:
                await wire.accept()
        self.done[f"one host cut off from {name}"] += 1

    async def forge(self) -> None:
        """Redis hints at runs that nobody is to touch: those that wait for approval, have ended, or are in somebody's hands."""
        with contextlib.suppress(SQLAlchemyError, OSError, redis.RedisError):
            async with self.ground.engine.connect() as connection:
                ids = (await connection.execute(text("SELECT id FROM runs ORDER BY random() LIMIT 16"))).scalars().all()
            self._broker = self._broker or open_broker(self.ground.redis.url)
            for queue in (EXECUTING, PLANNING):
                await asyncio.to_thread(self._broker.hint, queue, list(ids))
            self.done["forged or doubled hints"] += 2 * len(ids)

    def stepped_on(self) -> Counter[str]:
        """Where processes have died at crash points, and how often."""
        file = self.ground.folder / "mines"
        return Counter(file.read_text().splitlines()) if file.exists() else Counter()

    @contextlib.contextmanager
    def _struck(self, pid: int) -> Iterator[None]:
        """No other fault strikes it meanwhile: a process dies once."""
        self._in_hand.add(pid)
        try:
            yield
        finally:
            self._in_hand.discard(pid)

    def _victim(self, role: str) -> tuple[int, str] | None:
        living = [one for host in self.ground.hosts for one in host.processes() if one[0] not in self._in_hand]
        return self.dice.choice([one for one in living if one[1] == role] or living) if living else None

    async def _note_held(self, pid: int, *, paused: bool) -> None:
        """The runs whose claim this process has, which is stopped and changes nothing."""
        query = text("SELECT id, attempt, countersign_now() AS at FROM runs WHERE worker LIKE :name AND lease_until IS NOT NULL")
        with contextlib.suppress(SQLAlchemyError, OSError):
            async with asyncio.timeout(LOOK_SECONDS), self.ground.engine.connect() as connection:
                rows = (await connection.execute(query, {"name": f"%:{pid}-%"})).all()
            self.held += [Held(row.id, row.attempt, row.at, time.monotonic() - self._began, paused) for row in rows]
