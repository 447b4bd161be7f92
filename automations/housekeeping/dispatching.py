"""dispatching: what Postgres announces is hinted to workers through Redis; one housekeeper does it, the others stand by."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import psycopg
import redis

from automations.brokers import EXECUTING, PLANNING, WakingBroker, queue_of
from store.databases import plain_url

_log = logging.getLogger(__name__)
LOCK: Final = 4_707_033
STANDBY_SECONDS: Final = 0.3
HINT_AGAIN_SECONDS: Final = 2.0
MOST_IN_A_TURN: Final = 128
# Tables whose changes change who may vote; the others that are announced with them (accounts, tokens) do not.
_VOTERS: Final = ("people", "memberships", "grants", "policies", "passkeys")
_QUEUES: Final = {"plan": PLANNING, "execute": EXECUTING}

Told = Callable[[str, Sequence[UUID], float], Awaitable[None]]


class Dispatcher:
    """Hints while its connection holds the dispatchers' session lock; `messages` is set when some are due, lock or not.

    `deliveries` is set when something was delivered to a trigger; `people` when people, groups, grants or policy have changed;
    `schedules` when there is something new to schedule.
    `locks` is set when a run let go of one; `unheard` when notices came that nobody may have heard.
    """

    def __init__(self, url: str, broker: WakingBroker, messages: asyncio.Event, *, told: Told | None = None) -> None:
        """`told` hears of every hint that was given: the queue, the runs, and when it began in seconds since 1970."""
        self._url, self._broker, self._messages = plain_url(url), broker, messages
        self.people, self.deliveries, self.schedules = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.locks, self.unheard = asyncio.Event(), asyncio.Event()
        self._hinted: dict[UUID, float] = {}
        self._forgotten = 0.0
        self._waiting: dict[str, list[UUID]] = {}
        self._hinting: asyncio.Task[None] | None = None
        self.leads = False
        self._told = told
        self.labels: tuple[str, ...] | None = None
        """Those that living workers offered when somebody looked last."""

    async def run(self) -> None:
        """Dispatches until cancelled, connecting again whenever Postgres is lost."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=2, application_name="countersign-dispatching"
                ) as connection:
                    await self._dispatch(connection)
            except (psycopg.Error, OSError) as error:
                _log.warning("dispatching is interrupted: %s", type(error).__name__)
            self.leads = False
            await asyncio.sleep(STANDBY_SECONDS)

    async def hint(self, queue: str, ids: Sequence[UUID]) -> None:
        """Hints, off the loop; a Redis that does not take it costs nothing but time, because the sweep hints again."""
        now = time.monotonic()
        if now - self._forgotten > HINT_AGAIN_SECONDS:
            self._hinted = {one: at for one, at in self._hinted.items() if now - at < HINT_AGAIN_SECONDS}
            self._forgotten = now
        self._hinted.update(dict.fromkeys(ids, now))
        try:
            began = time.time()
            await asyncio.to_thread(self._hint, queue, ids)
            if self._told is not None:
                await self._told(queue, ids, began)
        except (redis.RedisError, OSError) as error:
            for one in ids:
                self._hinted.pop(one, None)
            _log.warning("Redis took no hint: %s", type(error).__name__)

    def _hint(self, queue: str, ids: Sequence[UUID]) -> None:
        """Twice, if need be: a Redis that was lost and is back has closed each connection that was open."""
        try:
            self._broker.hint(queue, ids)
        except redis.ConnectionError:
            self._broker.hint(queue, ids)

    async def hint_again(self, queue: str, ids: Sequence[UUID]) -> None:
        """Hints those that were not hinted in the last seconds."""
        now = time.monotonic()
        if due := [one for one in ids if now - self._hinted.get(one, 0.0) >= HINT_AGAIN_SECONDS]:
            await self.hint(queue, due)

    async def _dispatch(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        await connection.execute("LISTEN countersign_work")
        await connection.execute("LISTEN countersign_people")
        for one in (self._messages, self.deliveries, self.people):
            one.set()
        while True:
            if not self.leads:
                row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
                self.leads = row is not None and bool(row[0])
                if self.leads:
                    self.unheard.set()
            async for notice in connection.notifies(timeout=None if self.leads else STANDBY_SECONDS):
                if notice.channel == "countersign_work":
                    self._heard(notice.payload)
                elif notice.payload in _VOTERS:
                    self.people.set()

    def _heard(self, payload: str) -> None:
        kind, _, rest = payload.partition(" ")
        if kind == "messages":
            self._messages.set()
        elif kind == "deliveries":
            self.deliveries.set()
        elif kind == "schedules":
            self.schedules.set()
        elif kind == "locks":
            self.locks.set()
        elif (role := _QUEUES.get(kind.partition("@")[0])) and self.leads:
            self._waiting.setdefault(queue_of(role, kind.partition("@")[2]), []).extend(UUID(one) for one in rest.split())
            if self._hinting is None or self._hinting.done():
                self._hinting = asyncio.create_task(self._hint_waiting())

    async def _hint_waiting(self) -> None:
        """What is announced while a hint is under way shares the next one. Queues take turns: none waits for thousands of another's."""
        while self._waiting:
            queue = next(iter(self._waiting))
            ids = self._waiting.pop(queue)
            if rest := ids[MOST_IN_A_TURN:]:
                self._waiting[queue] = rest
            await self.hint(queue, ids[:MOST_IN_A_TURN])
