"""People with passkeys: they enrol and decide through REST, with a software authenticator, and workers do what is due."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from automations.executing import execute_runs
from automations.planning import plan_runs
from automations.services import Services, open_services
from countersign.runs import RunStatus
from store.claims import find_due
from store.databases import reading
from tests.bot.webs import Web, served, web_of
from tests.fakes.authenticators import ORIGIN, Authenticator
from tests.hubs import World

_PLAN = (RunStatus.submitted, RunStatus.planning)
_EXECUTE = (RunStatus.queued, RunStatus.running, RunStatus.undoing)
assert ORIGIN == "http://localhost:8000"


@dataclass
class Holder:
    """Somebody with a token and an authenticator."""

    name: str
    client: httpx.AsyncClient
    authenticator: Authenticator = field(default_factory=Authenticator)

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The new run of a command."""
        return good(await self.client.post("/api/v1/runs", json={"command": command, "arguments": arguments}), 201)

    async def look(self, run: str | int) -> dict[str, Any]:
        return good(await self.client.get(f"/api/v1/runs/{run}"))

    async def begin(self) -> dict[str, Any]:
        """The options for making a key."""
        return good(await self.client.post("/api/v1/passkeys/options"))

    async def enrol(self, label: str = "phone") -> dict[str, Any]:
        """Makes a key and asks for its enrolment; the answer has its fingerprint and the run."""
        credential = self.authenticator.create(await self.begin())
        return good(await self.client.post("/api/v1/passkeys", json={"label": label, "credential": credential}), 201)

    async def options(self, run: str, verdict: str = "approve") -> dict[str, Any]:
        """What there is to sign."""
        return good(await self.client.get(f"/api/v1/runs/{run}/decisions/options", params={"verdict": verdict}))

    async def sign(self, run: str, verdict: str = "approve", **wrong: Any) -> dict[str, Any]:
        """The body of a signed decision; what is given besides is made wrong."""
        options = await self.options(run, verdict)
        return {"verdict": verdict, "digest": options["digest"], "assertion": self.authenticator.sign(options, **wrong)}

    async def send(self, run: str, body: dict[str, Any]) -> httpx.Response:
        return await self.client.post(f"/api/v1/runs/{run}/decisions", json=body)

    async def decide(self, run: str, verdict: str = "approve") -> dict[str, Any]:
        """Signs and decides."""
        return good(await self.send(run, await self.sign(run, verdict)))


@dataclass
class Lodge:
    """A hub whose web process and workers run in the test's own loop."""

    world: World
    web: Web
    services: Services
    holders: dict[str, Holder] = field(default_factory=dict)
    fresh: bool = True
    """Whether workers read policy, people and keys anew for each piece of work, as they do within two seconds anyway."""

    async def holder(self, name: str) -> Holder:
        """The person, always with the same token and authenticator."""
        if name not in self.holders:
            self.holders[name] = Holder(name, await self.web.caller(name))
        return self.holders[name]

    async def settle(self) -> None:
        """Plans and executes until nothing is due."""
        while True:
            async with reading(self.services.engine) as session:
                plan = await find_due(session, statuses=_PLAN, quiet=0, limit=100)
                execute = await find_due(session, statuses=_EXECUTE, quiet=0, limit=100)
            if not plan and not execute:
                return
            if self.fresh:
                self.services.forget()
            await plan_runs(self.services, plan)
            await execute_runs(self.services, execute)


@asynccontextmanager
async def open_lodge(world: World, *, port: int = 0, **settings: str) -> AsyncIterator[Lodge]:
    """A hub on the world's database; `settings` are those of its web process, which listens only on a port that is given."""
    services = open_services(world.settings(role="worker"), name="lodge", pool=6)
    try:
        async with served(world, port=port, **settings) if port else web_of(world, **settings) as web:
            lodge = Lodge(world, web, services)
            yield lodge
            for one in lodge.holders.values():
                await one.client.aclose()
    finally:
        await services.close()


def good(answer: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The body of an answer with this status."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body
