"""Dramatiq over Redis, carrying only run ids. A hint that is lost, doubled or late changes nothing: the row is the truth."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import current_millis
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AsyncIO
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

_log = logging.getLogger(__name__)
PLANNING: Final = "planning"
EXECUTING: Final = "executing"
WAKE_SECONDS: Final = 1
TELL_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.2
HINT_SECONDS: Final = 1.0
MOST_IDS: Final = 16
# After a hint was heard, so that the event loop begins at once: Python's threads take turns, and this one has nothing urgent to do.
GIVE_WAY_SECONDS: Final = 0.001


def queue_of(role: str, label: str = "") -> str:
    """The queue in which workers of a role, with this label if any, hear of runs. So nobody hears of a run that he has to leave."""
    return f"{role}.{label}" if label else role


class WrongRedis(Exception):
    """Redis is set up so that it may silently throw hints away."""


class WakingBroker(RedisBroker):
    """The Redis broker with a blocking wake: an idle consumer is woken by the message itself instead of sleeping up to a second.

    Measured in the reference: 1.8 ms instead of 372 ms from enqueue to start, at 0.3 % of a core. The consumer class is private to
    Dramatiq, which is why its version is pinned.
    """

    heard: Callable[[list[UUID]], None] | None = None
    """Told of the runs in each hint as soon as it is read, on the consumer's thread."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return _WakingConsumer

    def hint(self, queue: str, ids: Sequence[UUID]) -> None:
        """Wakes a worker of the queue for these runs; raises redis.RedisError when Redis does not take it in time."""
        for start in range(0, len(ids), MOST_IDS):
            few = [str(one) for one in ids[start : start + MOST_IDS]]
            self.enqueue(dramatiq.Message(queue_name=queue, actor_name=queue, args=(few,), kwargs={}, options={}))


class _WakingConsumer(_RedisConsumer):
    """Whatever is not exactly a hint of ours is dropped here: over one damaged message Dramatiq would end its consumer for seconds."""

    _dropped, _told = 0, 0.0

    def __next__(self) -> Any:
        if self.message_cache or self.outstanding_message_count >= self.prefetch:
            return super().__next__()  # type: ignore[no-untyped-call]
        try:
            self._keep(self._wait_and_fetch())
        except redis.TimeoutError:
            return None
        except redis.RedisError as error:  # Dramatiq would wait for three seconds, and then begin a new consumer
            self._warn("Redis is waited for: %s", type(error).__name__)
            time.sleep(AGAIN_SECONDS)
            return None
        if not self.message_cache:
            return None
        time.sleep(GIVE_WAY_SECONDS)
        return super().__next__()  # type: ignore[no-untyped-call]

    def ack(self, message: Any) -> None:
        """A hint was heard when it was read: where it cannot be acknowledged it is heard once more, and nobody waits until it can."""
        with contextlib.suppress(ConnectionClosed):
            super().ack(message)  # type: ignore[no-untyped-call]

    def _wait_and_fetch(self) -> list[bytes | None]:
        """In one trip: Redis goes on to the fetch the moment that the wait is over.

        The wait is for the queue to hold something, at most a second: its first element is moved to where it is, which takes nothing away.
        """
        broker, queue = self.broker, f"{self.broker.namespace}:{self.queue_name}"
        with broker.client.pipeline(transaction=False) as pipeline:
            pipeline.blmove(queue, queue, WAKE_SECONDS, "LEFT", "LEFT")
            pipeline.evalsha(broker.scripts["dispatch"].sha, 1, broker.namespace, *self._fetching())
            try:
                _, fetched = pipeline.execute()
            except NoScriptError:  # a Redis that was lost and is back: this way brings the script along
                fetched = broker.do_fetch(self.queue_name, self.prefetch - self.outstanding_message_count)
        found: list[bytes | None] = fetched
        return found

    def _warn(self, words: str, what: object) -> bool:
        """Says it, at most once a second; whether it did."""
        if time.monotonic() - self._told <= TELL_SECONDS:
            return False
        self._told = time.monotonic()
        _log.warning(words, what)
        return True

    def _fetching(self) -> tuple[Any, ...]:
        """What Dramatiq's own `do_fetch` gives to its script."""
        broker = self.broker
        known = (broker.broker_id, broker.heartbeat_timeout, broker.dead_message_ttl, broker._should_do_maintenance("fetch"))
        return (
            "fetch",
            current_millis(),
            self.queue_name,
            *known,
            broker._max_unpack_size(),
            self.prefetch - self.outstanding_message_count,
        )

    def _keep(self, fetched: Sequence[bytes | None]) -> None:
        """The hints among what was fetched. Whoever does the work hears of them here; Dramatiq's threads are left to acknowledge them."""
        for one in fetched:
            if (ids := _ids_of(one, self.queue_name)) is not None:
                self.message_cache.append(one)
                if self.broker.heard:
                    self.broker.heard(ids)
        if len(self.message_cache) < len(fetched):
            self._forget_others(len(fetched) - len(self.message_cache))

    def _forget_others(self, count: int) -> None:
        """Removes what this consumer has fetched, but for the hints just read: an id whose text is damaged cannot be acknowledged by it.

        An older hint that is still in hand is removed as well, which changes nothing: it has been read.
        """
        self._dropped += count
        if self._warn("%d forged or damaged hints were dropped", self._dropped):
            self._dropped = 0
        queue = f"{self.broker.namespace}:{self.queue_name}"
        fetched = f"{self.broker.namespace}:__acks__.{self.broker.broker_id}.{self.queue_name}"
        kept = {json.loads(one)["options"]["redis_message_id"].encode() for one in self.message_cache}
        if others := self.broker.client.smembers(fetched) - kept:
            with self.broker.client.pipeline(transaction=False) as pipeline:
                pipeline.srem(fetched, *others)
                pipeline.hdel(f"{queue}.msgs", *others)
                pipeline.execute()


def _ids_of(data: bytes | None, queue: str) -> list[UUID] | None:
    """The runs in what `WakingBroker.hint` enqueues for the actor of the queue it stands in; None when this is anything else."""
    try:
        found = json.loads(data or b"")
        (texts,) = found.pop("args")
        options = found.pop("options")
        names = (found.pop("queue_name"), found.pop("actor_name"), found.pop("kwargs"))
        own = isinstance(found.pop("message_id"), str) and isinstance(found.pop("message_timestamp"), int) and not found
        ids = [UUID(one) for one in texts] if isinstance(texts, list) and len(texts) <= MOST_IDS else []
        few = bool(texts) and texts == [str(one) for one in ids]
        marked = list(options) == ["redis_message_id"] and bool(options["redis_message_id"].encode())
        return ids if own and few and marked and names == (queue, queue, {}) else None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def open_broker(url: str, *, heard: Callable[[list[UUID]], None] | None = None, labels: Sequence[str] = ()) -> WakingBroker:
    """A broker that knows the two queues, and two more for each label; a process that only hints need not hear, and waits less long.

    Dramatiq's Retries, TimeLimit and AgeLimit are left out: our own state machine decides.
    """
    pool = redis.ConnectionPool.from_url(
        url,
        socket_timeout=WAKE_SECONDS + 2 if heard else HINT_SECONDS,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=15,
    )
    broker = WakingBroker(  # type: ignore[no-untyped-call]
        client=redis.Redis(connection_pool=pool),
        middleware=[AsyncIO()],
        maintenance_chance=20_000,
        heartbeat_timeout=10_000,
        namespace="countersign",
    )
    broker.heard = heard
    for name in [queue_of(role, label) for role in (PLANNING, EXECUTING) for label in ("", *labels)]:
        dramatiq.actor(actor_name=name, queue_name=name, broker=broker)(_acknowledge)
    return broker


def check_redis(broker: WakingBroker) -> None:
    """Raises WrongRedis unless Redis refuses to evict: with another policy it says OK and forgets."""
    policy = broker.client.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise WrongRedis(
            f"COUNTERSIGN_REDIS_URL: maxmemory-policy is {policy!r}; set it to 'noeviction', or hints may be thrown away silently"
        )


def _acknowledge(_: list[str]) -> None:
    """What Dramatiq is left to do with a hint that was heard when it was read."""
