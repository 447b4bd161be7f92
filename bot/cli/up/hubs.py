"""One whole hub: databases first, then the processes, all watched; everything is stopped in the opposite order."""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx

from bot.cli.endings import Failed
from bot.cli.servers import web_command
from store.secrets import Keys
from store.settings import Settings

from .children import Child, Part
from .databases import furnish, start_servers
from .environments import plain_environment, web_environment, worker_environment

T = TypeVar("T")
READY_SECONDS: Final = 60.0


class Greet(Protocol):
    """Tells the person at the terminal that everything works."""

    def __call__(self, settings: Settings, link: str, *, first: bool) -> None: ...


class Stopped(Exception):
    """Somebody asked the hub to stop."""


class Hub:
    """Runs until it is told to stop or a process of it dies."""

    def __init__(self, settings: Settings, *, reload: bool, greet: Greet) -> None:
        self._settings, self._reload, self._greet = settings, reload, greet
        self._stop = asyncio.Event()
        self._children: list[Child] = []

    async def run(self) -> None:
        """Starts everything, greets, waits and stops everything. Raises Failed when something could not be started or died."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        async with AsyncExitStack() as stack:
            with suppress(Stopped):
                await self._start(stack)
                await self._unless_stopped(asyncio.Event().wait())

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        check_port(settings.host, settings.port)
        prepare_folder(settings.data_dir)
        stack.callback(os.close, take_folder(settings.data_dir))
        first = not (settings.data_dir / "keys").exists()
        servers = await start_servers(settings, stack)
        self._check_stop()
        Keys.prepared(settings.data_dir / "keys")
        link = await furnish(settings, servers)
        self._check_stop()
        extra = await self._start_site(stack) if settings.demo else {}
        workers = Part(
            "worker pool", [sys.executable, "-P", "-m", "automations"], worker_environment(settings, servers, extra), stop_seconds=5
        )
        web = Part(
            "web server",
            web_command(host=settings.host, port=settings.port),
            web_environment(settings, servers, extra, reload=self._reload),
            stop_seconds=3,
        )
        await self._add(workers, stack)
        await self._add(web, stack)
        await self._unless_stopped(self._ready())
        self._greet(settings, link, first=first)

    async def _start_site(self, stack: AsyncExitStack) -> dict[str, str]:
        """The demo's web site; returns what the workers must know of it."""
        root = self._settings.data_dir / "demo" / "site"
        port = free_port(self._settings.port + 100)
        command = [sys.executable, "-P", "-m", "countersign_deploys.server", "--root", str(root), "--port", str(port), "--demo"]
        await self._add(Part("demo site", command, plain_environment(), stop_seconds=1), stack)
        url = f"http://127.0.0.1:{port}"
        await self._unless_stopped(_answering(url, "The demo's site did not start."))
        return {
            "COUNTERSIGN_FLEET__ROOT": str(root),
            "COUNTERSIGN_FLEET__URL": url,
            "COUNTERSIGN_RUNBOOKS": str(self._settings.runbooks or root / "runbooks"),
        }

    async def _add(self, part: Part, stack: AsyncExitStack) -> None:
        self._check_stop()
        child = await Child.started(part, folder=self._settings.data_dir / "logs")
        stack.push_async_callback(child.stop)
        self._children.append(child)

    async def _ready(self) -> None:
        """Waits until every part says that it works; raises Failed naming those that do not after a minute."""
        deadline = time.monotonic() + READY_SECONDS
        said: dict[str, Any] = {}
        async with httpx.AsyncClient(base_url=local_url(self._settings), trust_env=False) as client:
            while time.monotonic() < deadline:
                with suppress(httpx.HTTPError, ValueError):
                    answer = await client.get("/ready")
                    if answer.status_code == 200:
                        return
                    said = answer.json().get("parts", {})
                await asyncio.sleep(0.05)
        missing = "; ".join(f"{part}: {what}" for part, what in said.items() if what != "ok") or "the web server does not answer"
        raise Failed(f"The hub is not ready after {READY_SECONDS:.0f} s ({missing}); its logs are in {self._settings.data_dir / 'logs'}.")

    async def _unless_stopped(self, work: Awaitable[T]) -> T:
        """The work's result; raises Stopped when somebody stops the hub first, and Failed when one of its processes ends."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        ends = [asyncio.ensure_future(child.ended()) for child in self._children]
        try:
            await asyncio.wait([task, stopping, *ends], return_when=asyncio.FIRST_COMPLETED)
            self._check_stop()
            for end in ends:
                if end.done():
                    raise Failed(f"{end.result()}; everything else was stopped.")
            return await task
        finally:
            for one in (task, stopping, *ends):
                one.cancel()
            await asyncio.gather(task, stopping, *ends, return_exceptions=True)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Stopped


def local_url(settings: Settings) -> str:
    """Where this machine reaches the web server."""
    host = "127.0.0.1" if settings.host in ("", "0.0.0.0", "::") else settings.host  # noqa: S104  not bound to, asked
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def check_port(host: str, port: int) -> None:
    """Raises Failed when something listens there already, or when there is no such address here."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        reason = "is taken; choose another with --port" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise Failed(f"Port {port} of {host} {reason}.") from None


def free_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or any that is free."""
    for port in (wanted if wanted < 65_536 else 0, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as one:
            return int(one.getsockname()[1])
    raise Failed("No TCP port of 127.0.0.1 is free.")


def prepare_folder(folder: Path) -> None:
    """The data folder: closed to others, except that root's Postgres, which runs as nobody, must be able to pass through it."""
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        (folder / "logs").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Failed(f"The data folder {folder} cannot be used: {error.strerror}.") from None


def take_folder(folder: Path) -> int:
    """A lock on the data folder, as long as the returned file is open; raises Failed when another hub has it."""
    lock = os.open(folder / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Failed(f"Another hub runs in {folder}; stop it first, or choose another folder with --data.") from None
    return lock


async def _answering(url: str, otherwise: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                await client.get(url)
                return
            await asyncio.sleep(0.02)
    raise Failed(otherwise)
