"""Real processes for stories: a hub's surroundings, its workers, and waiting without sleeping and hoping."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from commands.seed import seed
from store.databases import open_engine, transaction
from store.embedded import DatabaseUrls
from store.secrets import Keys
from store.settings import Settings
from tests.forks import ROOT, Fork

POLICY = """
profile: team
people:
  ada: {email: ada@example.test, groups: [developers]}
  lin: {email: lin@example.test, groups: [developers, leads]}
  kim: {email: kim@example.test, groups: [leads]}
  max: {email: max@example.test, groups: [admins]}
  eve: {email: eve@example.test}
identity: {slack: {link_by_email: true}}
roles:
  deployer: [deploy:run]
  approver: [deploy:approve]
  admin: ["*:*"]
groups: {developers: [deployer], leads: [deployer, approver], admins: [admin]}
"""


@dataclass
class World:
    """One hub's surroundings: its database, Redis, keys and the environment its processes get."""

    urls: DatabaseUrls
    redis_url: str
    folder: Path
    policy: str = POLICY
    extra: dict[str, str] = field(default_factory=dict)

    def environment(self, *, role: str) -> dict[str, str]:
        """What a process of this role is given, and nothing else of ours."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
        own = {
            "COUNTERSIGN_DATABASE_URL": self.urls.web if role == "web" else self.urls.worker,
            "COUNTERSIGN_DATA_DIR": str(self.folder),
            "COUNTERSIGN_LOG_FORMAT": "json",
        }
        if role == "worker":
            own["COUNTERSIGN_REDIS_URL"] = self.redis_url
        return plain | own | self.extra

    def settings(self, *, role: str = "web") -> Settings:
        """The same, for code that runs in the test's process."""
        with _environment(self.environment(role=role)):
            return Settings.read()

    def engine(self, *, role: str = "worker") -> AsyncEngine:
        return open_engine(
            {"web": self.urls.web, "worker": self.urls.worker, "owner": self.urls.owner}[role], name="test", pool=4, door=False
        )

    async def prepare(self) -> None:
        """Keys and the policy, as the first boot makes them."""
        Keys.prepared(self.folder / "keys")
        engine = self.engine(role="owner")
        async with transaction(engine) as session:
            await seed(session, self.policy)
        await engine.dispose()

    @contextmanager
    def workers(self, *, root: Path = ROOT) -> Iterator["subprocess.Popen[bytes] | Fork"]:
        """What `python -m automations` of the checkout at `root` starts, with all its children; afterwards nothing is left of them."""
        log, environment = self.folder / "workers.log", self.environment(role="worker")
        process = Fork(("automations",), environment, log) if root == ROOT else _executed(root, environment, log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _executed(root: Path, environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        command = [sys.executable, "-m", "automations"]
        return subprocess.Popen(command, env=environment, cwd=root, stdout=file, stderr=file, start_new_session=True)


async def until(check: Callable[[], Awaitable[Any]], *, seconds: float = 60.0, what: str = "") -> Any:
    """Asks again until the answer is true; fails with `what` when it is not in time, of which a busy machine takes much.

    The longer it has waited the longer until it asks again: asking 50 times a second is much of a processor's time.
    """
    began = time.monotonic()
    while True:
        if found := await check():
            return found
        if (waited := time.monotonic() - began) > seconds:
            raise AssertionError(f"not within {seconds} s: {what or check}")
        await asyncio.sleep(min(0.1, max(0.02, waited / 10)))


@asynccontextmanager
async def disposing(engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
