"""How Slack reaches the app: signed HTTP or Socket Mode, the three-second cutoff, and the retries of events."""

import json
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

import aiohttp

from tests.fakes.slack.signing import SignedRequest
from tests.fakes.slack.sockets import Sockets
from tests.fakes.slack.worlds import Clock, Json

RETRY_PAUSES = (0.0, 60.0, 300.0)


@dataclass(frozen=True)
class Answer:
    """What the app answered. `failure` is None for a 2xx in time, else http_timeout, http_error or connection_failed."""

    status: int | None
    failure: str | None
    body: Json = field(default_factory=dict)
    text: str = ""
    no_retry: bool = False


class Transport(Protocol):
    """One way to the app."""

    async def send(self, request: SignedRequest) -> Answer:
        """Deliver one request and wait for its answer, at most for the cutoff."""
        ...


class HttpTransport:
    """Posts to the app's request URL."""

    def __init__(self, target_url: str, *, cutoff: float) -> None:
        self.target_url = target_url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=cutoff))

    async def send(self, request: SignedRequest) -> Answer:
        try:
            async with self._session.post(self.target_url, data=request.body, headers=request.headers) as response:
                text = await response.text()
                failure = None if response.status < 300 else "http_error"
                no_retry = response.headers.get("x-slack-no-retry") == "1"
                return Answer(response.status, failure, _json(text), text, no_retry)
        except TimeoutError:
            return Answer(None, "http_timeout")
        except aiohttp.ClientError:
            return Answer(None, "connection_failed")

    async def close(self) -> None:
        await self._session.close()


class SocketTransport:
    """Sends envelopes; a signature plays no part here, as in Slack."""

    def __init__(self, sockets: Sockets, *, cutoff: float) -> None:
        self._sockets = sockets
        self._cutoff = cutoff

    async def send(self, request: SignedRequest) -> Answer:
        number = request.headers.get("x-slack-retry-num")
        retry = (int(number), request.headers["x-slack-retry-reason"]) if number else None
        body = await self._sockets.send(request.kind, request.payload, within=self._cutoff, retry=retry)
        return Answer(None, "http_timeout") if body is None else Answer(200, None, body, str(body.get("text", "")))


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver an event."""

    event_id: str
    attempt: int
    status: int | None
    failure: str | None


class Events:
    """Delivers events and, after a failure, three times more: at once, after 1 and 5 minutes (docs.slack.dev/apis/events-api)."""

    def __init__(self, clock: Clock) -> None:
        self.deliveries: list[Delivery] = []
        self._clock = clock
        self._due: list[tuple[float, SignedRequest, int, str]] = []

    async def deliver(self, transport: Transport, request: SignedRequest) -> Answer:
        """Deliver for the first time, and again at once if that fails; the later retries wait for `advance`."""
        answer = await self._attempt(transport, request, 0)
        await self.advance(transport, 0)
        return answer

    async def advance(self, transport: Transport, seconds: float) -> None:
        """Let time pass, delivering what falls due on the way."""
        end = self._clock.now() + seconds
        while self._due and min(self._due, key=_moment)[0] <= end:
            due = min(self._due, key=_moment)
            self._due.remove(due)
            moment, request, attempt, reason = due
            self._clock.reach(moment)
            headers = {"x-slack-retry-num": str(attempt), "x-slack-retry-reason": reason}
            await self._attempt(transport, request.aged(0).with_headers(headers), attempt)
        self._clock.reach(end)

    async def _attempt(self, transport: Transport, request: SignedRequest, attempt: int) -> Answer:
        answer = await transport.send(request)
        self.deliveries.append(Delivery(request.payload["event_id"], attempt, answer.status, answer.failure))
        if answer.failure and not answer.no_retry and attempt < len(RETRY_PAUSES):
            # The pause counts from now: the clock of the test stands still while the app is being waited for.
            self._due.append((self._clock.now() + RETRY_PAUSES[attempt] - 0.001, request, attempt + 1, answer.failure))
        return answer


def form(payload: Json) -> bytes:
    """Encode as slash commands and interactions arrive."""
    return urlencode(payload).encode()


def _moment(due: tuple[float, SignedRequest, int, str]) -> float:
    return due[0]


def _json(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
