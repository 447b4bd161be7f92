"""100,000 ways to get a request past the door, and a thousand captured ones: nothing gets in, and nothing has two effects."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, NoReturn, cast
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from bot.refusals import Refusals
from bot.slack.requests import MOST_BYTES, Guard
from bot.slack.routes import Events
from tests.bot.slack.doors import slack_of
from tests.fakes.slack import SIGNING_SECRET, sign
from tests.hubs import World

NOW = 1_800_000_000
FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"
# Many in one example, because drawing an example costs more than refusing a request; each is made from so many bytes.
EXAMPLES, EACH, WIDTH = 5_000, 20, 6


@dataclass(frozen=True)
class Request:
    """A request on the wire; `headers` are pairs, because a forger may give one twice."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def with_header(self, name: bytes, value: bytes) -> "Request":
        return replace(self, headers=(*((key, one) for key, one in self.headers if key != name), (name, value)))

    def without(self, name: bytes) -> "Request":
        return replace(self, headers=tuple(one for one in self.headers if one[0] != name))

    def twice(self, name: bytes, value: bytes) -> "Request":
        return replace(self, headers=(*self.headers, (name, value)))

    def header(self, name: bytes) -> bytes:
        return dict(self.headers)[name]


def signed(body: bytes, content_type: bytes, *, at: int = NOW, secret: str = SIGNING_SECRET) -> Request:
    proof = tuple((name.lower().encode(), value.encode()) for name, value in sign(secret, body, at).items())
    return Request((*proof, (b"content-type", content_type)), body)


SLASH = {"team_id": "T1", "user_id": "U0ADA", "channel_id": "C_OPS", "command": "/ship", "text": "api v2", "trigger_id": "1.2"}
CLICK = {"type": "block_actions", "user": {"id": "U0ADA", "team_id": "T1"}, "actions": [{"action_id": "intent:approve:0", "value": "{}"}]}
EVENT = {"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": {"type": "app_mention", "user": "U0ADA", "text": "help"}}
RIGHT = (
    signed(urlencode(SLASH).encode(), FORM),
    signed(urlencode({"payload": json.dumps(CLICK)}).encode(), FORM),
    signed(json.dumps(EVENT).encode(), JSON),
    signed(b'{"type":"url_verification","challenge":"c"}', JSON),
)
SIGNATURE, STAMP, TYPE = b"x-slack-signature", b"x-slack-request-timestamp", b"content-type"


def flip(one: Request, dice: Random) -> Request:
    body = bytearray(one.body)
    body[dice.randrange(len(body))] ^= dice.randrange(1, 256)
    return replace(one, body=bytes(body))


def cut(one: Request, dice: Random) -> Request:
    start = dice.randrange(len(one.body))
    return replace(one, body=one.body[:start] + one.body[start + dice.randrange(1, 40) :])


def insert(one: Request, dice: Random) -> Request:
    start = dice.randrange(len(one.body) + 1)
    return replace(one, body=one.body[:start] + dice.randbytes(dice.randrange(1, 9)) + one.body[start:])


def respell(one: Request, dice: Random) -> Request:
    """The same meaning in other bytes."""
    ways = [
        one.body.replace(b"a", b"%61", 1),
        one.body + b"&",
        b" " + one.body,
        b"\xef\xbb\xbf" + one.body,
        one.body.decode().encode("utf-16"),
    ]
    return replace(one, body=dice.choice([way for way in ways if way != one.body]))


def repeat_key(one: Request, dice: Random) -> Request:
    """Signed by somebody who holds the secret, and still of two meanings."""
    if one.header(TYPE) == FORM:
        name, _, value = dice.choice(one.body.split(b"&")).partition(b"=")
        return signed(one.body + b"&" + name + b"=" + dice.choice([value, b"U0MAX"]), FORM)
    return signed(one.body[:-1] + b',"type":"url_verification"}', JSON)


def repeat_key_unsigned(one: Request, dice: Random) -> Request:
    return replace(one, body=repeat_key(one, dice).body)


def misread(one: Request, dice: Random) -> Request:
    """Signed, and not what its content type says, or nothing that has one meaning."""
    bodies = [
        b'{"type":"event_callback","a":NaN}',
        b'{"a":' + b"[" * dice.randrange(40, 2_000),
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"a":"\\ud8%02x"}' % dice.randrange(256),
        b'{"a":1}{"a":2}',
        bytes([dice.randrange(128, 256)]) + b"=1",
    ]
    return signed(one.body, JSON if one.header(TYPE) == FORM else FORM) if dice.random() < 0.3 else signed(dice.choice(bodies), JSON)


def retime(one: Request, dice: Random) -> Request:
    """Another time than the one that was signed."""
    moved = NOW + dice.choice([-1, 1]) * dice.randrange(1, 400)
    strange = [b"", b"0", b"-%d" % NOW, b"%d.0" % NOW, b" %d" % NOW, b"0%d" % NOW, b"\xb2", b"9" * dice.randrange(11, 500)]
    return one.with_header(STAMP, dice.choice([b"%d" % moved, *strange]))


def outlive(one: Request, dice: Random) -> Request:
    """Signed rightly, more than five minutes ago or ahead."""
    return signed(one.body, one.header(TYPE), at=NOW + dice.choice([-1, 1]) * dice.randrange(301, 10**6))


def resign(one: Request, dice: Random) -> Request:
    right = one.header(SIGNATURE)
    digit = dice.randrange(3, len(right))
    ways = [
        right[:digit] + b"%x" % ((int(right[digit : digit + 1], 16) + dice.randrange(1, 16)) % 16) + right[digit + 1 :],
        right[: dice.randrange(len(right))],
        right.upper(),
        b"v1" + right[2:],
        right + b"0",
        right[3:],
        b"v0=" + b"0" * 64,
        dice.randbytes(67),
        signed(one.body, one.header(TYPE), secret=SIGNING_SECRET + "x").header(SIGNATURE),
    ]
    return one.with_header(SIGNATURE, dice.choice(ways))


def rehead(one: Request, dice: Random) -> Request:
    name = dice.choice([SIGNATURE, STAMP, TYPE])
    ways: list[Callable[[], Request]] = [
        lambda: one.without(name),
        lambda: one.twice(name, one.header(name)),
        lambda: one.twice(name, b"x"),
        lambda: one.with_header(
            TYPE, dice.choice([b"", b"text/plain", b"multipart/form-data", FORM + b"; charset=utf-16", FORM + b"," + JSON])
        ),
        lambda: one.with_header(b"content-encoding", dice.choice([b"gzip", b"br", b"deflate"])),
        lambda: one.with_header(b"content-length", b"%d" % (MOST_BYTES + dice.randrange(1, 10**9))),
        lambda: one.without(SIGNATURE).without(STAMP),
    ]
    return dice.choice(ways)()


def pretend_check(one: Request, dice: Random) -> Request:
    """The one thing that needs no signature, with something hidden in it."""
    bare = one.without(SIGNATURE).without(STAMP).with_header(TYPE, FORM)
    return replace(
        bare, body=dice.choice([one.body + b"&ssl_check=1", b"ssl_check=1&" + one.body, b"ssl_check=1&ssl_check=1", b"ssl_check=2"])
    )


MUTATIONS = (
    flip,
    cut,
    insert,
    respell,
    repeat_key,
    repeat_key_unsigned,
    misread,
    retime,
    outlive,
    resign,
    rehead,
    pretend_check,
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def door() -> Events:
    """The real ASGI application, with nothing behind it: whatever is let in runs into an error."""
    return Events(cast(Any, Nothing()), cast(Any, Nothing()), Guard(SIGNING_SECRET, clock=lambda: NOW), Refusals(cast(Any, Nothing())))


class Nothing:
    """Whoever touches it has been let in."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a forged request was let in as far as {name}")


async def test_the_originals_are_let_in() -> None:
    """Otherwise the story below would prove nothing."""
    guard = Guard(SIGNING_SECRET, clock=lambda: NOW)
    for one in RIGHT:
        assert (await guard.admit({"headers": list(one.headers)}, receiving(one.body))).payload


@given(st.binary(min_size=EACH * WIDTH, max_size=EACH * WIDTH))
@settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors]
)
def test_no_forged_request_is_let_in_or_breaks_us(door: Events, runner: asyncio.Runner, dice: bytes) -> None:
    runner.run(refuse_all(door, [forged(dice[start : start + WIDTH]) for start in range(0, len(dice), WIDTH)]))


def forged(seed: bytes) -> Request:
    """One mutation of one original; the bytes say which, and how it is made."""
    return MUTATIONS[seed[0] % len(MUTATIONS)](RIGHT[seed[1] % len(RIGHT)], Random(seed))


async def refuse_all(door: ASGIApp, requests: list[Request]) -> None:
    for one in requests:
        status = await status_of(door, one)
        assert status in (400, 401, 408, 413, 415), (status, one)


def test_that_were_a_hundred_thousand() -> None:
    assert EXAMPLES * EACH == 100_000


async def test_a_thousand_captured_requests_have_a_thousand_effects(world: World) -> None:
    """Each is sent four times, side by side, some signed in the near past and some in the near future."""
    dice = Random(7)
    async with slack_of(world) as slack:
        [route] = slack.door.routes
        door = cast(Any, route).app
        captured = [
            signed(urlencode(SLASH | {"trigger_id": f"{n}.1"}).encode(), FORM, at=int(time.time()) + dice.randrange(-200, 200))
            for n in range(1_000)
        ]
        deliveries = captured * 4
        dice.shuffle(deliveries)
        limit = asyncio.Semaphore(64)

        async def deliver(one: Request) -> int:
            async with limit:
                return await status_of(door, one)

        statuses = await asyncio.gather(*map(deliver, deliveries))
        assert set(statuses) == {200}
        assert len(await slack.rows("SELECT 1 FROM runs")) == 1_000
        [born] = await slack.rows("SELECT count(*) AS n FROM audit_events WHERE kind = 'run:submitted'")
        assert born.n == 1_000


async def status_of(door: ASGIApp, one: Request) -> int:
    found = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    await door({"type": "http", "method": "POST", "path": "/slack/events", "headers": list(one.headers)}, receiving(one.body), send)
    [status] = found
    return int(status)


def receiving(body: bytes) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
