"""People who decide on all that waits, each through a door of their own, while the web process before them is killed and replaced."""

import asyncio
import signal
import socket
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import httpx

from bot.cli.servers import web_command
from countersign.replies import Button
from integrations.slack.roundtrips import PREFIX, button_value
from store.embedded.servers import free_port
from tests.bot.webs import hidden
from tests.fakes.slack import SlackFake, payloads
from tests.fakes.slack.delivering import form
from tests.fakes.slack.signing import sign
from tests.forks import Fork
from tests.hubs import World, until
from tests.stories.waiting import WaitingRun

START_SECONDS: Final = 60.0
AT_ONCE: Final = 3
"""How many requests each of them has in the air."""


@dataclass(frozen=True)
class Web:
    """One web process, as the product starts it."""

    process: Fork
    port: int

    @classmethod
    def start(cls, world: World) -> "Web":
        port = free_port(None)
        words = web_command(host="127.0.0.1", port=port)
        program = words[words.index("uvicorn") :]
        return cls(Fork(tuple(program), world.environment(role="web"), world.folder / "web.log"), port)

    async def ready(self) -> None:
        """It listens only when it has started."""

        async def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        await until(listens, seconds=START_SECONDS, what="a web process listens")


class Relay:
    """One web process serves, and the next is ready before the first is killed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._serving, self._next = Web.start(world), Web.start(world)

    @property
    def address(self) -> str:
        """Where requests go now."""
        return f"http://127.0.0.1:{self._serving.port}"

    async def ready(self) -> None:
        await self._serving.ready()
        await self._next.ready()

    def kill(self) -> None:
        """SIGKILL; who asks again asks the next one."""
        self._serving.process.send_signal(signal.SIGKILL)
        self._serving.process.wait()
        self._serving, self._next = self._next, Web.start(self._world)

    def end(self) -> None:
        for one in (self._serving, self._next):
            one.process.kill()
            one.process.wait()


@dataclass
class Clerk(ABC):
    """Approves whatever is put into `todo`, until None is. A request without an answer is sent again, word for word."""

    name: str
    relay: Relay
    todo: "asyncio.Queue[WaitingRun | None]" = field(default_factory=asyncio.Queue)
    told: dict[str, str] = field(default_factory=dict)
    flying: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    async def work(self) -> None:
        async with asyncio.TaskGroup() as group, httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await asyncio.gather(*(group.create_task(self._work(client)) for _ in range(AT_ONCE)))

    async def _work(self, client: httpx.AsyncClient) -> None:
        while (run := await self.todo.get()) is not None:
            self.told[str(run.id)] = await self._answered(client, run)
        self.todo.put_nowait(None)  # for the others

    async def _answered(self, client: httpx.AsyncClient, run: WaitingRun) -> str:
        request = self.request(run)
        again = False
        while True:
            self.flying += 1
            try:
                answer = await client.post(self.relay.address + request["path"], content=request["body"], headers=request["headers"])
            except httpx.TransportError:
                self.counts["answers lost"] += 1
            else:
                if answer.status_code < 500:
                    return self.heard(answer, again=again)
                self.counts["not done or not confirmed"] += 1
            finally:
                self.flying -= 1
            again = True

    @abstractmethod
    def request(self, run: WaitingRun) -> Mapping[str, Any]:
        """Path, body and headers of one decision."""

    @abstractmethod
    def heard(self, answer: httpx.Response, *, again: bool) -> str:
        """What the answer says of the decision; fails when it is no success."""


@dataclass
class Caller(Clerk):
    """Through REST, which has no key for a decision: whoever says it again hears that it counted."""

    token: str = ""

    def request(self, run: WaitingRun) -> Mapping[str, Any]:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        body = f'{{"verdict": "approve", "digest": "{run.digest}"}}'
        return {"path": f"/api/v1/runs/{run.id}/decisions", "body": body, "headers": headers}

    def heard(self, answer: httpx.Response, *, again: bool) -> str:
        if answer.status_code == 200:
            return str(answer.json()["sentence"])
        assert again, answer.text
        assert answer.json()["reason"] in ("dup_vote", "late_click", "nothing_to_decide"), answer.text
        self.counts["answers lost after the commit"] += 1
        return str(answer.json()["detail"])


@dataclass
class Reader(Clerk):
    """In the browser, whose forms carry a key: the same click has the same answer."""

    cookie: Mapping[str, str] = field(default_factory=dict)
    csrf: str = ""

    async def open(self) -> None:
        async with httpx.AsyncClient(base_url=self.relay.address, cookies=dict(self.cookie), trust_env=False) as client:
            self.csrf = hidden((await client.get("/")).text, "csrf")

    def request(self, run: WaitingRun) -> Mapping[str, Any]:
        fields = {"intent": "approve", "target": str(run.id), "digest": run.digest, "key": uuid4().hex, "csrf": self.csrf, "channel": "ops"}
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookie.items())
        headers = {"cookie": cookie, "sec-fetch-site": "same-origin", "countersign-part": "1"}
        return {
            "path": "/room/press",
            "body": form(fields),
            "headers": headers | {"content-type": "application/x-www-form-urlencoded"},
        }

    def heard(self, answer: httpx.Response, *, again: bool) -> str:
        assert "Approved" in answer.text, answer.text
        return "Approved"


@dataclass
class Clicker(Clerk):
    """In Slack, which is told nothing but that the click has arrived; a message says the rest."""

    fake: SlackFake | None = None

    def request(self, run: WaitingRun) -> Mapping[str, Any]:
        assert self.fake is not None
        world, user = self.fake.world, self.fake.world.users[f"U0{self.name.upper()}"]
        button = Button(label="Approve", intent="approve", target=str(run.id), digest=run.digest)
        action = {"type": "button", "action_id": f"{PREFIX}approve:0", "block_id": "b", "value": button_value(button)}
        message = world.add_message(world.channels["C_OPS"], "card", [])
        click = payloads.on_message(
            world, user, message, action=action, trigger=f"trigger.{run.id}", response_url=f"{self.fake.hooks_base}/actions/none"
        )
        body = form({"payload": httpx.Response(200, json=click).text})
        headers = {"content-type": "application/x-www-form-urlencoded", **sign(self.fake.signing_secret, body)}
        return {"path": "/slack/events", "body": body, "headers": headers}

    def heard(self, answer: httpx.Response, *, again: bool) -> str:
        assert answer.status_code == 200, answer.text
        return "taken"
