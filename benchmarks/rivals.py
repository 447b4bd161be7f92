"""The other sides that answer slash commands, brought up as a team would run them."""

import secrets
import sys

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from benchmarks.hubs import HubAddresses
from benchmarks.processes import Child
from benchmarks.services import Services
from benchmarks.sides.naive_stack.models import Base, Grant
from store.embedded.servers import free_port

UVICORN = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
ASKER = "U0ADA"
SLACK_TOKEN = "xoxb-for-the-sink"  # noqa: S105 (the sink takes any)


class BareBolt:
    """One uvicorn process with Bolt and nothing else; `factory` is a function of `benchmarks.sides.bare_bolt`."""

    def __init__(self, services: Services, *, name: str, factory: str) -> None:
        self.name = name
        self._services = services
        self._factory = factory
        self._child: Child | None = None

    async def start(self) -> HubAddresses:
        """Start uvicorn; return when it listens."""
        port, secret = free_port(None), secrets.token_hex(16)
        self._child = Child(
            [*UVICORN, "--port", str(port), "--factory", f"benchmarks.sides.bare_bolt:{self._factory}"],
            environment={
                "BENCH_SIGNING_SECRET": secret,
                "BENCH_SLACK_TOKEN": SLACK_TOKEN,
                "BENCH_SLACK_API_URL": self._services.sink.api_url,
            },
            log=self._services.folder / f"bare-bolt-{self._factory}.log",
        )
        await self._child.listens(port)
        return HubAddresses(f"http://127.0.0.1:{port}/slack/events", secret, posts_results=self._factory == "responding")

    async def stop(self) -> None:
        """End uvicorn."""
        if self._child:
            self._child.stop()


class NaiveStack:
    """`benchmarks.sides.naive_stack` with as many processes as the other side has, on the same Postgres and Redis."""

    name = "naive stack"

    def __init__(self, services: Services, *, web_processes: int = 1, worker_processes: int = 1, worker_threads: int = 8) -> None:
        self._services = services
        self._web_processes = web_processes
        self._worker = ["--processes", str(worker_processes), "--threads", str(worker_threads)]
        self._children: list[Child] = []

    async def start(self) -> HubAddresses:
        """Make its database, start uvicorn and Dramatiq; return when both are ready."""
        port, secret = free_port(None), secrets.token_hex(16)
        database_url = self._make_database()
        environment = {
            "NAIVE_DATABASE_URL": database_url,
            "NAIVE_REDIS_URL": self._services.redis.url.removesuffix("/0") + "/1",
            "NAIVE_SIGNING_SECRET": secret,
            "NAIVE_SLACK_TOKEN": SLACK_TOKEN,
            "NAIVE_SLACK_API_URL": self._services.sink.api_url,
        }
        web = [*UVICORN, "--port", str(port), "--workers", str(self._web_processes), "benchmarks.sides.naive_stack.web:api"]
        worker = [sys.executable, "-m", "dramatiq", *self._worker, "benchmarks.sides.naive_stack.jobs"]
        for name, command in (("naive-worker", worker), ("naive-web", web)):
            self._children.append(Child(command, environment=environment, log=self._services.folder / f"{name}.log"))
        await self._children[0].said("Worker process is ready for action.")
        await self._children[1].listens(port)
        return HubAddresses(f"http://127.0.0.1:{port}/slack/events", secret, asker=ASKER, posts_results=True, database_urls=(database_url,))

    async def stop(self) -> None:
        """End uvicorn and Dramatiq."""
        while self._children:
            self._children.pop().stop()

    def _make_database(self) -> str:
        postgres = self._services.postgres
        postgres.create_database("naive")
        url = postgres.urls_for("naive").owner
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.merge(Grant(user_id=ASKER, permission="work:run"))
        engine.dispose()
        return url
