"""What every request passes first: a trace, the body limit, security headers, numbers, and an answer when our own code breaks."""

import logging
import time
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from store import traces

from .deadlines import Deadline, answering
from .logs import new_trace

_log = logging.getLogger(__name__)
MOST_BODY_BYTES: Final = 256 * 1024
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it, browsers send `Origin: null` for our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": (
        "camera=(), geolocation=(), microphone=(), payment=(), publickey-credentials-create=(self), publickey-credentials-get=(self)"
    ),
}
FOR_PROGRAMS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
"""What an answer carries that only a program reads, for the doors that answer without this middleware: a browser makes nothing of it."""
REQUESTS: Final = Counter("countersign_http_requests", "HTTP requests answered.", ["method", "route", "status"])
SECONDS: Final = Histogram(
    "countersign_http_seconds", "Time to the start of the answer.", ["route"], buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Slack's own verdict on a request is its HTTP status; how often it asks is in its metrics, so that path is not logged line by line.
_QUIET: Final = frozenset({"/live", "/ready", "/metrics", "/slack/events"})

Broken = Callable[[Request, int, str, str], Response]


class TooLarge(Exception):
    """The body is longer than we read."""


class Edge:
    """ASGI middleware around everything; `broken(request, status, reason, sentence)` renders what it answers itself."""

    def __init__(self, app: ASGIApp, *, broken: Broken, https: bool) -> None:
        self._app, self._broken = app, broken
        self._headers = _HEADERS | ({"strict-transport-security": "max-age=31536000"} if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = new_trace()
        scope.setdefault("state", {})["trace"] = trace
        shown = "" if scope["path"] in _QUIET else trace
        with bound_contextvars(trace=trace), answering() as deadline, traces.request(shown, "request"):
            await _Exchange(self, scope, receive, send, deadline).run(self._app)

    def dress(self, message: Message, scope: Scope) -> None:
        """Adds our headers to the start of an answer."""
        headers = MutableHeaders(scope=message)
        for name, value in self._headers.items():
            headers.setdefault(name, value)  # an answer may be stricter
        headers.setdefault("cache-control", "no-store")
        headers["x-request-id"] = scope["state"]["trace"]

    def refusal(self, scope: Scope, status: int, reason: str, sentence: str) -> Response:
        return self._broken(Request(scope), status, reason, sentence)


class _Exchange:
    """One request and its answer."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send, deadline: Deadline) -> None:
        self._edge, self._scope, self._deadline = edge, scope, deadline
        self._receive, self._send = receive, send
        self._began = time.perf_counter()
        self._read = 0
        self._status = 0

    async def run(self, app: ASGIApp) -> None:
        try:
            if _declared(self._scope) > MOST_BODY_BYTES:
                raise TooLarge
            await app(self._scope, self.receive, self.send)
        except TooLarge:
            await self._answer(413, "too_large", f"The body may have at most {MOST_BODY_BYTES // 1024} KiB.")
        except ClientDisconnect:
            _log.info("the client went away")
        except Exception:
            _log.exception("a request broke")
            if self._status:
                raise
            await self._answer(500, "internal", "Something broke on our side; it is in the log under this request's id.")
        finally:
            self._note()

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > MOST_BODY_BYTES:
            raise TooLarge
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._deadline.over = True  # a stream, once begun, may go on for hours
            self._edge.dress(message, self._scope)
            SECONDS.labels(route=self._route).observe(time.perf_counter() - self._began)
        await self._send(message)

    async def _answer(self, status: int, reason: str, sentence: str) -> None:
        if not self._status:
            response = self._edge.refusal(self._scope, status, reason, sentence)
            response.headers["connection"] = "close"
            await response(self._scope, self._receive, self.send)

    def _note(self) -> None:
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        REQUESTS.labels(method=method, route=self._route, status=str(self._status)).inc()
        traces.tell(f"{method} {self._route}", status=self._status)
        if self._route not in _QUIET:
            milliseconds = round((time.perf_counter() - self._began) * 1000, 1)
            _log.info("%s %s %s", method, self._route, self._status, extra={"ms": milliseconds})

    @property
    def _route(self) -> str:
        """The route's pattern; never the path, which may hold a one-time link or anything a stranger typed."""
        path = getattr(self._scope.get("route"), "path", "")
        return str(path) or ("/slack/events" if self._scope["path"] == "/slack/events" else "other")


def _declared(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0
