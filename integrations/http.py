"""HTTP to outside systems through one guarded door: listed hosts only, one resolution, no redirects, bounded size and time."""

import asyncio
import json as json_texts
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import httpcore
import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from countersign.arguments import Duration
from countersign.errors import StepFailed
from countersign.integrations import Integration, acts, reads
from integrations.addresses import DEFAULT_PORTS, Egress, Endpoint, addresses_of

Resolve = Callable[[str, int], Awaitable[list[str]]]

SUCCESS: Final = range(200, 300)
_METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
# Set by the transport itself; a caller who could set them could reach another virtual host or smuggle a second request.
_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "idempotency-key", "te", "trailer", "transfer-encoding", "upgrade"}
)
_AUTHORITY = re.compile(r"(?:https?)://([^/?#]*)", re.IGNORECASE)
_SUSPICIOUS = re.compile(r"[\x00-\x20\x7f\\]")

# httpx logs every whole address at INFO and httpcore every header at DEBUG; both may hold secrets.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


class EgressDenied(StepFailed):
    """The call was not made: its address, or what the name resolves to, is not permitted."""


@dataclass(frozen=True)
class Answer:
    """What a server answered; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """The body as JSON; raises StepFailed when it is not."""
        try:
            return json_texts.loads(self.body)
        except (ValueError, RecursionError):
            raise StepFailed("the answer should be JSON and is not") from None


class Http(Integration):
    """Plain HTTP calls for commands. What it may reach is listed by the operator; everything else is refused before a connection."""

    class Settings(BaseModel):
        """`allow`: hosts or host:port (a bare host means ports 443 and 80). `private`: host:port=address for each listed host that may be
        reached at a private address, and only there. `max_bytes`: the longest answer. `timeout`: the longest call, from name to last byte.
        `ca_file`: certificates to trust besides the public ones.
        """

        model_config = ConfigDict(frozen=True, extra="forbid")

        allow: list[str] = Field([], examples=["api.example.test,grafana.internal:3000"])
        private: list[str] = Field([], examples=["grafana.internal:3000=10.0.0.5"])
        max_bytes: int = Field(1024 * 1024, ge=1, le=1024**3)
        timeout: Duration = Field(Duration(seconds=30), examples=["30s"])
        ca_file: Path | None = Field(None, examples=["/etc/ssl/internal.pem"])

        @field_validator("allow")
        @classmethod
        def _hosts_can_be_read(cls, value: list[str]) -> list[str]:
            Egress.of(value, ())
            return value

        @field_validator("private")
        @classmethod
        def _permits_belong_to_allowed_hosts(cls, value: list[str], info: ValidationInfo) -> list[str]:
            if "allow" in info.data:
                Egress.of(info.data["allow"], value)
            return value

        def egress(self) -> Egress:
            return Egress.of(self.allow, self.private)

    def __init__(self, settings: Settings, *, resolve: Resolve | None = None, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        super().__init__(settings)
        self._egress = settings.egress()
        backend = GuardedBackend(self._egress, resolve or system_resolver, network or httpcore.AnyIOBackend())
        self._client = httpx.AsyncClient(
            transport=_Transport(httpcore.AsyncConnectionPool(ssl_context=_trust(settings.ca_file), network_backend=backend)),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "countersign"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113  one limit over the whole call, in _answer
        )

    @reads
    async def get(self, url: str, *, headers: Mapping[str, str] | None = None, statuses: Container[int] = SUCCESS) -> Answer:
        """The answer to a GET. Raises StepFailed with a sentence when it cannot be had or its status is not in `statuses`."""
        return await self._answer(self._request("GET", url, headers=headers), statuses)

    @acts(repeat="once")
    async def send(
        self,
        method: str,
        url: str,
        *,
        key: str,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        statuses: Container[int] = SUCCESS,
    ) -> Answer:
        """The answer to a POST, PUT, PATCH or DELETE with a JSON value or raw bytes.

        `key` (usually `ctx.key`) is sent as `Idempotency-Key`. Raises StepFailed with a sentence; when the sentence says the call may have
        been received, it may have had its effect.
        """
        if method.upper() not in _METHODS:
            raise StepFailed(f"HTTP method {method[:20]!r} should be one of {', '.join(_METHODS)}")
        if json is not None and body is not None:
            raise StepFailed("give either json or body, not both")
        request = self._request(method.upper(), url, headers=headers, key=key, json=json, body=body)
        return await self._answer(request, statuses)

    async def close(self) -> None:
        await self._client.aclose()

    def _request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None, key: str = "", json: Any = None, body: bytes | None = None
    ) -> httpx.Request:
        address = checked_url(url, self._egress)
        if own := sorted(name for name in headers or {} if name.lower() in _OWN_HEADERS):
            raise StepFailed(f"header {own[0]!r} is set by Countersign and cannot be given")
        extra = {"accept-encoding": "identity"} | ({"idempotency-key": key} if key else {})
        try:
            return self._client.build_request(method, address, headers={**(headers or {}), **extra}, json=json, content=body)
        except (ValueError, TypeError, UnicodeError):
            raise StepFailed(f"{method} {address.host}: the headers or the body cannot be sent as given") from None

    async def _answer(self, request: httpx.Request, statuses: Container[int]) -> Answer:
        # Only the host is ever named: paths and queries of webhooks and signed links are secrets.
        called = f"{request.method} {request.url.host}"
        try:
            async with asyncio.timeout(self.settings.timeout.total_seconds()):
                answer = await self._received(request, called)
        except TimeoutError:
            raise StepFailed(f"{called}: no complete answer within {self.settings.timeout}; the call may have been received") from None
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            raise StepFailed(f"{called}: no connection; nothing was sent") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError, httpx.StreamError):
            raise StepFailed(f"{called}: the connection broke before the answer was complete; the call may have been received") from None
        if answer.status not in statuses:
            raise StepFailed(f"{called} answered {answer.status}{_meaning(answer.status)}")
        return answer

    async def _received(self, request: httpx.Request, called: str) -> Answer:
        response = await self._client.send(request, stream=True)
        try:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise StepFailed(f"{called} answered with compressed bytes although none were accepted")
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > self.settings.max_bytes:
                    raise StepFailed(f"{called} answered more than {self.settings.max_bytes} bytes")
            return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, bytes(body))
        finally:
            await response.aclose()


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to permitted endpoints only. A name is resolved once, every address it gives must be permitted, and the connection
    goes to one of those very addresses, so a name that changes its answer in between (DNS rebinding) gains nothing.
    """

    def __init__(self, egress: Egress, resolve: Resolve, network: httpcore.AsyncNetworkBackend) -> None:
        self._egress = egress
        self._resolve = resolve
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in await self._permitted(Endpoint(host.strip("[]").lower(), port)):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _permitted(self, endpoint: Endpoint) -> list[str]:
        if not self._egress.allows(endpoint):
            raise EgressDenied(f"{endpoint} is not an allowed host")
        try:
            addresses = addresses_of(await self._resolve(endpoint.host, endpoint.port))
        except (OSError, ValueError):
            raise httpcore.ConnectError(f"{endpoint.host} has no address") from None
        for address in addresses:
            if not self._egress.permits_address(endpoint, address):
                raise EgressDenied(f"{endpoint} is at the address {address}, which is not public and not permitted for it")
        return [str(address) for address in addresses]


def checked_url(url: str, egress: Egress) -> httpx.URL:
    """The address, if it is plain http or https to a listed host; raises EgressDenied with a sentence that does not repeat it."""
    authority = _AUTHORITY.match(url)
    if not authority or _SUSPICIOUS.search(url):
        raise EgressDenied("the address should start with https:// or http:// and hold no spaces, backslashes or control characters")
    if not authority[1] or "@" in authority[1] or "%" in authority[1] or not authority[1].isascii():
        raise EgressDenied("the address should name its host plainly, without a user name, percent signs or letters outside ASCII")
    try:
        address = httpx.URL(url)
        port = DEFAULT_PORTS[address.scheme] if address.port is None else address.port
        endpoint = Endpoint(address.host.lower(), port)
    except (httpx.InvalidURL, KeyError, ValueError):
        raise EgressDenied("the address cannot be read") from None
    if address.userinfo or not egress.allows(endpoint):
        raise EgressDenied(f"{endpoint} is not an allowed host; an operator lists it in COUNTERSIGN_HTTP__ALLOW")
    return address


async def system_resolver(host: str, port: int) -> list[str]:
    """Every address the system's resolver gives for a stream connection; raises OSError when there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _Transport(httpx.AsyncBaseTransport):
    """httpx over a connection pool of ours: httpx's own transport offers no place for a network backend."""

    def __init__(self, pool: httpcore.AsyncConnectionPool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path)
        answer = await self._pool.handle_async_request(
            httpcore.Request(request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions)
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> Any:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    trust = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        trust.load_verify_locations(ca_file)
    return trust


def _meaning(status: int) -> str:
    if 300 <= status < 400:
        return ", a redirect, which is not followed"
    return ""
