"""The roles a worker process can have: planning, executing and housekeeping."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import dramatiq
import redis
from dramatiq.asyncio import get_event_loop_thread
from sqlalchemy.exc import SQLAlchemyError

from commands.registries import RegistryError
from integrations.catalogs import IntegrationSettingWrong
from store import traces
from store.claims import count_ready, find_lines, release
from store.databases import PowerfulRole, refuse_powerful_role, transaction
from store.integrations import note_used
from store.settings import Settings
from store.workers import note_worker

from .brokers import EXECUTING, PLANNING, WrongRedis, check_redis, open_broker, queue_of
from .connections import FEW
from .executing import execute_runs
from .housekeeping.checking import check_always
from .housekeeping.dispatching import Dispatcher
from .housekeeping.following import follow_always
from .housekeeping.forgetting import forget_always
from .housekeeping.indexing import index_always
from .housekeeping.rerouting import reroute_always
from .housekeeping.scheduling import schedule_always
from .housekeeping.sealing import seal_always
from .housekeeping.sending import send_always
from .housekeeping.sweeping import sweep
from .housekeeping.taking import take_always
from .housekeeping.verifying import verify_always
from .housekeeping.waking import wake_free_always
from .intakes import Intake
from .leases import Leases, end_dead
from .logs import set_up_logs
from .planning import plan_runs
from .services import Services, open_services
from .slates import Slate
from .slots import Slots
from .tracing import note_hints

_log = logging.getLogger(__name__)
Work = Callable[[Services, Sequence[UUID]], Awaitable[int]]
SEEN_SECONDS: Final = 10.0
GRACE_SECONDS: Final = 8.0
# In a flood planning a batch takes a third of it. With four batches at a time, and no rest, 20 places were empty for a quarter of the time
# while 2,000 runs were planned, at 870 a second.
_PATIENCE_SECONDS: Final = 0.1
_ENOUGH: Final = 64
"""So many planned runs that nobody carries out yet are enough: whoever plans more of them rests."""
# What does the work, how many runs at once, how many such batches side by side (0: as many as the setting says), and how patient it is.
_WORK: Final[dict[str, tuple[Work, int, int, float]]] = {
    PLANNING: (plan_runs, 32, 4, _PATIENCE_SECONDS),
    EXECUTING: (execute_runs, 1, 0, 0.0),
}


def run_role(settings: Settings, role: str, slot: str, *, parent: int, slate: Slate) -> int:
    """Runs one role until SIGTERM, or until the process `parent` is not its parent any more, because nothing may be left behind.

    Returns the exit code: 2 when a setting is wrong, which starting again would not mend.
    """
    set_up_logs(settings.log_format, role=role)
    traces.begin(settings, role=role)
    name = f"{socket.gethostname()}/{slot}:{role}:{os.getpid()}-{uuid4().hex[:8]}"
    try:
        end_dead(settings.database_url, worker=name, parent=parent, slate=slate)
        if role == "housekeeping":
            asyncio.run(_keep_house(settings, name, parent))
        else:
            _work(settings, role, name, parent, slate)
    except (WrongRedis, PowerfulRole, RegistryError, IntegrationSettingWrong, TypeError) as error:
        _log.critical("%s", error)
        return 2
    finally:
        traces.end()
    return 0


def _work(settings: Settings, role: str, name: str, parent: int, slate: Slate) -> None:
    """A Dramatiq worker whose consumer hands run ids to the intake of the event loop, where the work is done."""
    job, batch, hands, patience = _WORK[role]
    hands = hands or settings.slots
    # A run that is carried out needs plain statements most of the time; together they are no more connections than places and a few.
    pool = hands + FEW if role == PLANNING else hands // 8 + FEW
    services = open_services(settings, name=name, pool=pool, statements=max(FEW, hands // 3))
    services.slate = slate
    services.slots = Slots(hands)
    most = (lambda: services.slots.hands) if role == EXECUTING else lambda: hands
    intake = Intake(
        lambda ids: job(services, ids),
        batch=batch,
        hands=most,
        places=partial(_places, services),
        patience=patience,
        stocked=partial(_stocked, services),
    )

    def take(ids: list[UUID]) -> None:
        get_event_loop_thread().loop.call_soon_threadsafe(intake.offer, ids)  # type: ignore[union-attr]

    broker = open_broker(settings.redis_url.get_secret_value(), heard=take, labels=services.labels)
    with contextlib.suppress(redis.RedisError):  # Redis may be away when we start; the check is repeated at the next start
        check_redis(broker)
    leases = Leases(settings.database_url, worker=name, lease=settings.lease_seconds, held=services.held)
    worker = dramatiq.Worker(broker, queues={queue_of(role, one) for one in ("", *services.labels)}, worker_threads=2, worker_timeout=1_000)
    worker.start()
    thread: Any = get_event_loop_thread()
    thread.run_coroutine(_begin(services, role, name))
    leases.watch(thread.loop)
    leases.start()
    running = [asyncio.run_coroutine_threadsafe(one, thread.loop) for one in (_say_alive(services, role), services.stay_current())]
    _wait_for_the_end(parent)
    for one in running:
        one.cancel()
    services.ending = True
    closing = asyncio.run_coroutine_threadsafe(intake.close(seconds=GRACE_SECONDS), thread.loop)
    for consumer in worker.consumers.values():
        consumer.stop()  # or it takes hints that others would have acted on; one that is only paused ends seconds later
    closing.result()
    thread.run_coroutine(_end(services))
    worker.stop(timeout=2_000)
    leases.end()


async def _places(services: Services, ids: Sequence[UUID]) -> Mapping[UUID, tuple[int, str]]:
    async with services.plain_statement() as driver:
        return await find_lines(driver, ids)


async def _stocked(services: Services) -> bool:
    async with services.plain_statement() as driver:
        return await count_ready(driver, most=_ENOUGH) == _ENOUGH


async def _begin(services: Services, role: str, name: str) -> None:
    await refuse_powerful_role(services.engine)
    async with transaction(services.engine) as session:
        await note_worker(session, name=name, role=role, versions=services.registry.versions, labels=services.labels)


async def _end(services: Services) -> None:
    """What was cut off is looked at by others now, not only when its lease ends."""
    with contextlib.suppress(SQLAlchemyError, OSError):
        async with services.transaction() as session:
            await release(session, slot=services.name, but="")
    await services.close()


async def _say_alive(services: Services, role: str) -> None:
    pause = min(SEEN_SECONDS, services.settings.version_seconds / 4)
    while True:
        await asyncio.sleep(pause)
        try:
            async with services.transaction() as session:
                await note_worker(session, name=services.name, role=role, versions=services.registry.versions, labels=services.labels)
                await note_used(session, services.catalog.take_used())
        except (SQLAlchemyError, OSError) as error:
            _log.warning("the worker could not say that it lives: %s", type(error).__name__)


async def _keep_house(settings: Settings, name: str, parent: int) -> None:
    services = open_services(settings, name=name, pool=5)
    await refuse_powerful_role(services.engine)
    broker = open_broker(settings.redis_url.get_secret_value())
    messages = asyncio.Event()
    told = partial(note_hints, services) if traces.is_on() else None
    dispatcher = Dispatcher(settings.listen_database_url or settings.database_url, broker, messages, told=told)
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, ended.set)
    jobs = [
        dispatcher.run(),
        sweep(services, dispatcher),
        reroute_always(services, dispatcher.people),
        schedule_always(services, dispatcher.schedules),
        wake_free_always(services, dispatcher.locks),
        seal_always(services),
        index_always(services),
        verify_always(services),
        send_always(services, messages),
        take_always(services, dispatcher.deliveries),
        follow_always(services),
        forget_always(services),
        check_always(services),
    ]
    tasks = [asyncio.create_task(one) for one in jobs]
    waiting = asyncio.create_task(_until_ended(ended, parent))
    done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    await _end_all([*tasks, waiting])
    await services.close()
    for task in done - {waiting}:
        task.result()  # a job that ended by itself is a fault: the supervisor starts this process again


async def _end_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancelled until they have ended: a connection that is lost at that moment swallows a cancellation."""
    while left := [one for one in tasks if not one.done()]:
        for one in left:
            one.cancel()
        await asyncio.wait(left, timeout=1.0)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _until_ended(ended: asyncio.Event, parent: int) -> None:
    """A signal, or the supervisor's death."""
    while not ended.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await ended.wait()


def _wait_for_the_end(parent: int) -> None:
    ended = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: ended.set())
    while not ended.wait(1.0):
        if os.getppid() != parent:
            return
