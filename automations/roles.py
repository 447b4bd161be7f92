"""The roles a worker process can have: planning, executing and housekeeping. `python -m automations.roles ROLE SLOT`."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import dramatiq
from dramatiq.asyncio import get_event_loop_thread
from sqlalchemy.exc import SQLAlchemyError

from store.databases import refuse_powerful_role, transaction
from store.runs import release
from store.settings import Settings, WrongSetting
from store.workers import note_worker

from .brokers import EXECUTING, PLANNING, check_redis, open_broker
from .executing import execute_runs
from .housekeeping.dispatching import Dispatcher
from .housekeeping.sealing import seal_always
from .housekeeping.sending import send_always
from .housekeeping.sweeping import sweep
from .leases import Leases
from .logs import set_up_logs
from .planning import plan_runs
from .services import Services, open_services

_log = logging.getLogger(__name__)
Work = Callable[[Services, list[UUID]], Awaitable[int]]
SEEN_SECONDS: Final = 10.0
_WORK: Final[dict[str, Work]] = {PLANNING: plan_runs, EXECUTING: execute_runs}


def main(arguments: list[str]) -> int:
    """Runs one role until SIGTERM; returns the exit code."""
    role, slot = arguments
    try:
        settings = Settings.read()
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs(settings.log_format, role=role)
    name = f"{socket.gethostname()}/{slot}:{role}:{uuid4().hex[:8]}"
    if role == "housekeeping":
        asyncio.run(_keep_house(settings, name))
    else:
        _work(settings, role, name)
    return 0


def _work(settings: Settings, role: str, name: str) -> None:
    """A Dramatiq worker whose actor hands run ids to the event loop and waits for the work to be done."""
    services = open_services(settings, name=name, pool=settings.threads * 2 + 2)

    async def take(ids: list[str]) -> None:
        try:
            await _WORK[role](services, [UUID(one) for one in ids])
        except (SQLAlchemyError, OSError) as error:
            _log.warning("%s was interrupted: %s; the sweep brings the runs back", role, type(error).__name__)
        except ValueError:
            _log.warning("a forged or damaged hint was dropped")

    broker = open_broker(settings.redis_url.get_secret_value(), **{_PARAMETER[role]: take})
    check_redis(broker)
    leases = Leases(settings.database_url, worker=name, lease=settings.lease_seconds)
    worker = dramatiq.Worker(broker, queues={role}, worker_threads=settings.threads, worker_timeout=1_000)
    worker.start()
    thread: Any = get_event_loop_thread()
    thread.run_coroutine(_begin(services, role, name))
    leases.watch(thread.loop)
    leases.start()
    alive = asyncio.run_coroutine_threadsafe(_say_alive(services, role), thread.loop)
    _wait_for_the_end()
    alive.cancel()
    worker.stop(timeout=10_000)
    leases.end()


_PARAMETER: Final = {PLANNING: "plan", EXECUTING: "execute"}


async def _begin(services: Services, role: str, name: str) -> None:
    await refuse_powerful_role(services.engine)
    slot = name.rpartition(":")[0] + ":"
    async with transaction(services.engine) as session:
        await release(session, slot=slot, but=name)
        await note_worker(session, name=name, role=role, versions=services.registry.versions)


async def _say_alive(services: Services, role: str) -> None:
    while True:
        await asyncio.sleep(SEEN_SECONDS)
        try:
            async with services.transaction() as session:
                await note_worker(session, name=services.name, role=role, versions=services.registry.versions)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("the worker could not say that it lives: %s", type(error).__name__)


async def _keep_house(settings: Settings, name: str) -> None:
    services = open_services(settings, name=name, pool=4)
    await refuse_powerful_role(services.engine)
    broker = open_broker(settings.redis_url.get_secret_value())
    messages = asyncio.Event()
    dispatcher = Dispatcher(settings.listen_database_url or settings.database_url, broker, messages)
    ended = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, ended.set)
    jobs = [dispatcher.run(), sweep(services, dispatcher), seal_always(services), send_always(services, messages)]
    tasks = [asyncio.create_task(one) for one in jobs]
    waiting = asyncio.create_task(_until_ended(ended))
    done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, waiting):
        task.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)
    await services.close()
    for task in done - {waiting}:
        task.result()  # a job that ended by itself is a fault: the supervisor starts this process again


async def _until_ended(ended: asyncio.Event) -> None:
    """A signal, or the supervisor's death: nothing may be left behind."""
    parent = os.getppid()
    while not ended.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 1.0)


def _wait_for_the_end() -> None:
    ended = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: ended.set())
    parent = os.getppid()
    while not ended.wait(1.0):
        if os.getppid() != parent:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
