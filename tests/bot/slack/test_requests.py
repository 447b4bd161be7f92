"""Only what Slack signed gets in, read in one way; everything else gets a status, is counted, and is never our error."""

import asyncio
import gzip
import json
import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.parsers import BadInput, read_form, read_json
from bot.slack.requests import MOST_BYTES, Guard, Received, Rejected
from tests.bot.slack.doors import Slack
from tests.fakes.slack import sign

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
SLASH = {"team_id": "T1", "user_id": "U1", "channel_id": "C1", "command": "/ship", "text": "api v2", "trigger_id": "1.2"}


async def admit(body: bytes, *, headers: Iterable[tuple[str, str]] | None = None, content_type: str = FORM, pieces: int = 1) -> Received:
    given = [("content-type", content_type), *sign(SECRET, body).items()] if headers is None else headers
    scope: dict[str, Any] = {"headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given]}
    size = max(1, -(-len(body) // pieces))
    parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": n < len(parts) - 1} for n, part in enumerate(parts)]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return await Guard(SECRET).admit(scope, receive)


async def rejected(body: bytes, **how: Any) -> tuple[int, str]:
    with pytest.raises(Rejected) as caught:
        await admit(body, **how)
    return caught.value.status, caught.value.reason


async def test_a_signed_command_is_read_however_it_is_cut() -> None:
    body = urlencode(SLASH).encode()
    for pieces in (1, 3, len(body)):
        assert await admit(body, pieces=pieces) == Received("slash_commands", SLASH)


async def test_a_signed_interaction_and_event_are_read() -> None:
    assert await admit(urlencode({"payload": '{"type":"block_actions"}'}).encode()) == Received("interactive", {"type": "block_actions"})
    assert (await admit(b'{"type":"event_callback"}', content_type=JSON)).kind == "events_api"


@pytest.mark.parametrize(
    ("age", "reason"), [(0, None), (299, None), (-299, None), (302, "sig_expired"), (-302, "sig_expired"), (10**9, "sig_expired")]
)
async def test_a_signature_holds_for_five_minutes(age: int, reason: str | None) -> None:
    body = urlencode(SLASH).encode()
    headers = [("content-type", FORM), *sign(SECRET, body, int(time.time()) - age).items()]
    if reason is None:
        assert (await admit(body, headers=headers)).kind == "slash_commands"
    else:
        assert await rejected(body, headers=headers) == (401, reason)


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e9", " 1", "١٢٣", "9" * 13, "1.0", "0x10"])
async def test_a_strange_time_is_refused(stamp: str) -> None:
    body = urlencode(SLASH).encode()
    right = sign(SECRET, body)
    headers = [("content-type", FORM), ("x-slack-signature", right["X-Slack-Signature"])]
    raw = {"headers": [(name.encode(), value.encode()) for name, value in headers] + [(b"x-slack-request-timestamp", stamp.encode())]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    with pytest.raises(Rejected) as caught:
        await Guard(SECRET).admit(raw, receive)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "change", [str.upper, lambda one: one[:-1], lambda one: one + "0", lambda one: one[3:], lambda _: "v0=", lambda _: "é"]
)
async def test_a_strange_signature_is_refused(change: Any) -> None:
    body = urlencode(SLASH).encode()
    right = sign(SECRET, body)
    headers = [("content-type", FORM), ("x-slack-request-timestamp", right["X-Slack-Request-Timestamp"])]
    assert (await rejected(body, headers=[*headers, ("x-slack-signature", change(right["X-Slack-Signature"]))]))[0] == 401
    assert await rejected(body, headers=headers) == (401, "sig_missing")


@pytest.mark.parametrize("name", ["content-type", "x-slack-signature", "x-slack-request-timestamp", "content-length"])
async def test_a_header_given_twice_is_refused(name: str) -> None:
    body = urlencode(SLASH).encode()
    headers = {"content-type": FORM, "content-length": str(len(body)), **{key.lower(): one for key, one in sign(SECRET, body).items()}}
    assert await rejected(body, headers=[*headers.items(), (name, headers[name])]) == (400, "ambiguous_headers")


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", f"{JSON}, {FORM}", f"{FORM}; charset=utf-7"])
async def test_only_two_content_types_are_read(content_type: str) -> None:
    assert await rejected(urlencode(SLASH).encode(), content_type=content_type) == (415, "content_type")


async def test_a_compressed_body_is_refused() -> None:
    body = gzip.compress(urlencode(SLASH).encode())
    headers = [("content-type", FORM), ("content-encoding", "gzip"), *sign(SECRET, body).items()]
    assert await rejected(body, headers=headers) == (415, "content_type")


async def test_a_body_of_more_than_256_kib_is_refused_before_it_is_read() -> None:
    assert await rejected(b"x" * (MOST_BYTES + 1), pieces=9) == (413, "too_large")
    assert await rejected(b"", headers=[("content-type", FORM), ("content-length", str(MOST_BYTES + 1))]) == (413, "too_large")
    assert await rejected(b"", headers=[("content-type", FORM), ("content-length", "9" * 30)]) == (413, "too_large")


async def test_a_form_with_two_meanings_is_refused() -> None:
    for body in (
        urlencode([*SLASH.items(), ("user_id", "U2")]).encode(),
        urlencode(SLASH | {"payload": "{}"}).encode(),
        urlencode({name: one for name, one in SLASH.items() if name != "trigger_id"}).encode(),
        b"command=%2Fship&user_id=%ff",
        b"command=%2Fship&user_id=%zz",
        b"command=%2Fship&user_id=a%2",
        b"command",
        b"",
        "text=ü".encode(),
        urlencode(SLASH | {"text": "a\0b"}).encode(),
        b"&".join(b"a%d=1" % n for n in range(100)),
    ):
        assert await rejected(body) == (400, "bad_input")


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"a","type":"b"}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"\\ud800":1}',
        b'{"a":"\\u0000"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 100_000,
        b'{"a":' + b"9" * 10_000 + b"}",
        b"[]",
        b"null",
        b"",
        b'{"a":1}x',
        b'{"type":"url_verification"}',
    ],
)
async def test_json_with_two_meanings_is_refused(body: bytes) -> None:
    assert await rejected(body, content_type=JSON) == (400, "bad_input")


def test_the_parsers_take_what_slack_sends() -> None:
    assert read_form(b"a=%C3%BC&b=&c=1+2") == {"a": "ü", "b": "", "c": "1 2"}
    nested: Any = 1
    for _ in range(30):
        nested = {"a": nested}
    assert read_json(json.dumps(nested)) == nested
    with pytest.raises(BadInput):
        read_json(json.dumps({"a": {"a": {"a": nested}}}))


@given(fields=st.dictionaries(TEXT.filter(bool), TEXT, min_size=1, max_size=20), lower=st.booleans())
def test_a_form_is_read_as_it_was_written(fields: dict[str, str], lower: bool) -> None:
    written = urlencode(fields)
    assert read_form((re.sub("%..", lambda one: one[0].lower(), written) if lower else written).encode()) == fields
    everything = "&".join("=".join("".join(f"%{one:02X}" for one in text.encode()) for text in pair) for pair in fields.items())
    assert read_form(everything.encode()) == fields


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.bodies.READ_SECONDS", 0.01)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Rejected) as caught:
        await Guard(SECRET).admit({"headers": [(b"content-type", FORM.encode())]}, receive)
    assert (caught.value.status, caught.value.reason) == (408, "too_slow")


def test_an_empty_secret_opens_no_door() -> None:
    with pytest.raises(ValueError, match="empty"):
        Guard("")


async def test_slack_checks_the_address_and_the_certificate(slack: Slack) -> None:
    assert await slack.fake.verify_url()
    assert (await slack.fake.ssl_check()).status == 200


async def test_an_unsigned_certificate_check_asks_for_nothing(slack: Slack) -> None:
    told = await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    assert told.request is not None
    hidden = told.request.tampered(told.request.body + b"&ssl_check=1").unsigned()
    assert (await slack.fake.send(hidden)).status == 401


async def test_an_unsigned_url_verification_is_refused(slack: Slack) -> None:
    told = await slack.person("ada").mention("C_OPS", "help")
    assert told.request is not None
    forged = told.request.tampered(b'{"type":"url_verification","challenge":"x"}')
    assert (await slack.fake.send(forged)).status == 401


async def test_noise_is_counted_and_recorded_once_per_reason(slack: Slack) -> None:
    told = await slack.person("ada").slash("/cs", "whoami", channel="C_OPS")
    assert told.request is not None
    for _ in range(5):
        assert (await slack.fake.send(told.request.aged(400))).status == 401
        assert (await slack.fake.send(told.request.unsigned())).status == 401
    await slack.door.refusals.flush()
    counted = {(one["reason"], one["count"]) for one in await slack.audit("request:refused")}
    assert counted == {("sig_expired", 5), ("sig_missing", 5)}


async def test_other_methods_are_refused(slack: Slack) -> None:
    status = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    [route] = slack.door.routes
    await route.app({"type": "http", "method": "GET", "headers": []}, receive, send)  # type: ignore[attr-defined]
    assert status == 405
