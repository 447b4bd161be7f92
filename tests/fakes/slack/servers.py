"""The fake itself: a Slack on 127.0.0.1 with one workspace, our app installed, and people to act."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal, Self

from aiohttp import web

from tests.fakes.slack.actors import Actor
from tests.fakes.slack.couriers import Courier
from tests.fakes.slack.delivering import Answer, Delivery, Events, HttpTransport, SocketTransport
from tests.fakes.slack.faults import MODES, Fault, Faults, Hooks, RateLimits, Triggers
from tests.fakes.slack.file_methods import Uploads
from tests.fakes.slack.signing import SignedRequest
from tests.fakes.slack.sockets import Sockets
from tests.fakes.slack.tokens import BOT_SCOPES, Token, Tokens
from tests.fakes.slack.web_api import ApiCall, Method, WebApi
from tests.fakes.slack.worlds import Channel, FakeUser, Message, PayloadTeam, SlackSays, Usergroup, View, World

BOT_TOKEN = "xoxb-fake-bot"
APP_TOKEN = "xapp-fake-app"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
# Fine enough that a story never notices, coarse enough to leave the app its time.
POLL = 0.005


class SlackFake:
    """A Slack for stories. Over HTTP it posts to `target_url`; in socket mode the app connects to it.

    `cutoff` is Slack's patience in seconds, `posts_per_second` the rate for one channel; `rate_limits=False` switches all rates off.
    `payload_team` says whose team a click of somebody of another company carries. `enterprise` makes it an org-wide install.
    Use it as an async context manager, or call `start` and `stop`. It has no authentication of its own beyond its tokens.
    """

    def __init__(
        self,
        mode: Literal["http", "socket"] = "http",
        *,
        target_url: str = "",
        signing_secret: str = SIGNING_SECRET,
        team: str = "T1",
        enterprise: str | None = None,
        payload_team: PayloadTeam = "installer",
        rate_limits: bool = True,
        posts_per_second: float = 1.0,
        cutoff: float = 3.0,
        most_connections: int = 10,
    ) -> None:
        self.mode = mode
        self.bot_token, self.app_token, self.signing_secret = BOT_TOKEN, APP_TOKEN, signing_secret
        self.world = World(team=team, enterprise=enterprise, payload_team=payload_team)
        self.clock = self.world.clock
        self.tokens = Tokens(self.clock)
        self.tokens.add(BOT_TOKEN, Token("bot", BOT_SCOPES))
        self.tokens.add(APP_TOKEN, Token("app", frozenset({"connections:write"})))
        self.limits = RateLimits(self.clock, posts_per_second=posts_per_second, enabled=rate_limits)
        self.sockets = Sockets(self.world, most=most_connections)
        self._target_url, self._cutoff = target_url, cutoff
        self._faults, self._events = Faults(), Events(self.clock)
        triggers, hooks = Triggers(self.world), Hooks(self.world)
        self._courier = Courier(self.world, triggers=triggers, hooks=hooks, events=self._events, secret=signing_secret)
        self._api = WebApi(self.world, tokens=self.tokens, faults=self._faults, limits=self.limits, triggers=triggers, hooks=hooks)
        self._api.methods["apps.connections.open"] = Method(self.sockets.open, "connections:write", None, "app")
        self._runner: web.AppRunner | None = None
        self._http: HttpTransport | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve on a free port of 127.0.0.1."""
        app = web.Application()
        app.add_routes([*self._api.routes(), web.get("/link/", self.sockets.link)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self._courier.base = self.uploads.base = f"http://127.0.0.1:{port}"
        self.sockets.serve_at(self._courier.base)
        if self.mode == "http":
            self._http = self._courier.transport = HttpTransport(self._target_url, cutoff=self._cutoff)
        else:
            self._courier.transport = SocketTransport(self.sockets, cutoff=self._cutoff)

    async def stop(self) -> None:
        """End every connection, those left hanging included."""
        self._api.closing.set()
        await self.sockets.close()
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def uploads(self) -> Uploads:
        """The files that were sent here."""
        return self._api.uploads

    @property
    def api_url(self) -> str:
        """The base of the Web API, for SLACK_API_URL."""
        return f"{self._courier.base}/api/"

    @property
    def hooks_base(self) -> str:
        """What every response_url of this fake starts with."""
        return self._courier.base

    @property
    def target_url(self) -> str:
        """Where HTTP requests go; may be set once the app has its port."""
        return self._target_url

    @target_url.setter
    def target_url(self, url: str) -> None:
        self._target_url = url
        if self._http is not None:
            self._http.target_url = url

    def add_user(self, id: str, *, team: str | None = None, name: str = "", **more: Any) -> Actor:  # noqa: A002 - reads as Slack does
        """Add a person (see FakeUser for email, guest, deleted, bot, stranger, tz) and return them as an actor."""
        self.world.users[id] = FakeUser(id, team or self.world.team, name or id.lower(), **more)
        return self.user(id)

    def add_channel(self, id: str, *, name: str = "", members: list[str] | None = None, **more: Any) -> Channel:  # noqa: A002
        """Add a channel (see Channel for private, shared, archived, bot_in)."""
        channel = self.world.channels[id] = Channel(id, name or id.lower(), set(members or []), **more)
        return channel

    def add_usergroup(self, id: str, *, handle: str, users: list[str]) -> None:  # noqa: A002
        """Add a user group."""
        self.world.usergroups[id] = Usergroup(id, handle, users)

    def user(self, id: str) -> Actor:  # noqa: A002
        """Return a person who can act."""
        return Actor(self.world, self._courier, self.world.user(id))

    def account(self, id: str) -> FakeUser:  # noqa: A002
        """Return the account itself, to change it in the middle of a story."""
        return self.world.user(id)

    def trigger(self, user: str) -> str:
        """Issue a trigger_id outside any act, for tests of a client alone."""
        return self._courier.triggers.issue(user)

    def response_url(self, channel: str, user: str, *, original: Message | None = None) -> str:
        """Issue a response_url outside any act, for tests of a client alone."""
        return self._courier.response_url(self.world.channels[channel], self.world.user(user), original=original)

    @property
    def requests(self) -> list[ApiCall]:
        """Every call that reached the Web API or a response_url, refused ones included, in order."""
        return self._api.requests

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt to deliver an event."""
        return self._events.deliveries

    def calls(self, method: str) -> list[ApiCall]:
        """The calls of one method."""
        return [call for call in self.requests if call.method == method]

    def messages(self, channel: str) -> list[Message]:
        """The messages all members of a channel see, oldest first."""
        return [
            message for message in self.world.messages if message.channel == channel and not message.ephemeral_to and not message.deleted
        ]

    def direct_messages(self, user: str) -> list[Message]:
        """What the app and a person wrote each other directly."""
        return self.messages(self.world.direct(user).id)

    def ephemerals(self, user: str) -> list[Message]:
        """What only this person was shown, oldest first."""
        return [message for message in self.world.messages if message.ephemeral_to == user and not message.deleted]

    def errors_seen(self, user: str) -> list[str]:
        """The errors that Slack's client showed to a person."""
        return [error for seen_by, error in self.world.errors if seen_by == user]

    def views(self, user: str) -> list[View]:
        """The stack of forms a person has open, the one in front last."""
        return list(self.world.stacks.get(user, []))

    def last_view(self, user: str) -> View:
        """The form a person has in front. Raises LookupError when there is none."""
        stack = self.views(user)
        if not stack:
            raise LookupError(f"{user} has no form open; errors seen: {self.errors_seen(user)}")
        return stack[-1]

    def home(self, user: str) -> View | None:
        """The App Home that was published for a person."""
        return self.world.homes.get(user)

    async def wait_for(self, look: Callable[[], Any], *, what: str, timeout: float = 60.0) -> Any:  # noqa: ASYNC109 - it names `what` was missing
        """Look until something truthy is found and return it. Raises AssertionError naming `what` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (found := look()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout:g} s: {what}")
            await asyncio.sleep(POLL)
        return found

    async def wait_message(self, *, channel: str, containing: str = "", timeout: float = 60.0, thread: str | None = None) -> Message:  # noqa: ASYNC109
        """Wait for a message (also after an edit) whose text or blocks contain a string; a person's id means their direct channel."""
        place = self.world.direct(channel).id if channel in self.world.users else channel

        def look() -> list[Message]:
            return [
                message
                for message in self.messages(place)
                if message.sender == self.world.bot_user and containing in message.content and (thread is None or message.thread == thread)
            ]

        try:
            found = await self.wait_for(look, what=f"a message in {channel} containing {containing!r}", timeout=timeout)
        except AssertionError as error:
            there = "\n---\n".join(message.content for message in self.messages(place)) or "nothing"
            raise AssertionError(f"{error}; there is:\n{there}") from None
        return found[-1]  # type: ignore[no-any-return]

    async def wait_ephemeral(self, user: str, *, containing: str = "", timeout: float = 60.0) -> Message:  # noqa: ASYNC109
        """Wait for something shown to one person alone."""
        what = f"something shown to {user} containing {containing!r}"
        found = await self.wait_for(
            lambda: [message for message in self.ephemerals(user) if containing in message.content], what=what, timeout=timeout
        )
        return found[-1]  # type: ignore[no-any-return]

    async def wait_view(self, user: str, *, containing: str = "", timeout: float = 60.0) -> View:  # noqa: ASYNC109
        """Wait for a form in front of a person."""

        def look() -> View | None:
            stack = self.views(user)
            return stack[-1] if stack and containing in stack[-1].content else None

        return await self.wait_for(look, what=f"a form for {user} containing {containing!r}", timeout=timeout)  # type: ignore[no-any-return]

    def fail_next(self, method: str, mode: str, *, times: int = 1, retry_after: int = 1) -> None:
        """Make the next calls of a method (or `response_url`) fail: a mode of faults.MODES, else an error code of Slack's."""
        self._faults.order(method, Fault(mode, retry_after), times)

    def fail_often(self, *methods: str, seed: int, share: float, modes: tuple[str, ...] = MODES) -> None:
        """Make this share of the calls of some methods fail, by chance that the seed decides."""
        self._faults.strew(seed, share, modes, frozenset(methods))

    def lift_tiers(self) -> None:
        """Allow every method as often as anybody likes; one message a second and channel stays Slack's law."""
        self.limits.tiers = False

    @property
    def faults(self) -> int:
        """How many calls have failed by chance."""
        return self._faults.struck

    async def advance(self, seconds: float) -> None:
        """Let time pass for lifetimes and rates, and deliver the event retries that fall due on the way."""
        if self._courier.transport is None:
            raise RuntimeError("the fake is not started")
        await self._events.advance(self._courier.transport, seconds)

    async def send(self, request: SignedRequest) -> Answer:
        """Deliver a request exactly as it is, for hostile ones: `request.tampered(…)`, `.aged(301)`, `.unsigned()`, …"""
        return await self._courier.send(request)

    async def replay(self, request: SignedRequest, times: int = 1) -> list[Answer]:
        """Deliver the identical signed request again."""
        return [await self._courier.send(request) for _ in range(times)]

    async def verify_url(self) -> bool:
        """Send url_verification as Slack does when a request URL is saved; True when the app returned the challenge."""
        challenge = self.world.mint("challenge")
        answer = await self.send(
            self._courier.signed("events_api", {"type": "url_verification", "token": "legacy", "challenge": challenge})
        )
        return answer.status == 200 and challenge in answer.text

    async def ssl_check(self) -> Answer:
        """Send the unsigned certificate check."""
        request = self._courier.signed("slash_commands", {"ssl_check": "1", "token": "legacy"})
        return await self.send(request.unsigned())

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Tell every Socket Mode client to reconnect."""
        await self.sockets.disconnect(reason)


__all__ = ["APP_TOKEN", "BOT_TOKEN", "SIGNING_SECRET", "SlackFake", "SlackSays"]
