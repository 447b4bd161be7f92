"""What arrives at /slack/events is a stranger's until its signature holds; nothing of it is read before that.

Signature and its window: https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.types import Receive, Scope

from bot.bodies import MOST_BYTES as MOST_BYTES
from bot.bodies import Rejected as Rejected
from bot.bodies import read_body, single_headers

from .parsers import BadInput, Json, read_form, read_json

WINDOW_SECONDS: Final = 300
FORM: Final = b"application/x-www-form-urlencoded"
JSON: Final = b"application/json"
_STAMP, _SIGNATURE = b"x-slack-request-timestamp", b"x-slack-signature"
_SINGLE: Final = frozenset({b"content-type", b"content-encoding", b"content-length", _STAMP, _SIGNATURE})
_SLASH_FIELDS: Final = ("team_id", "user_id", "channel_id", "command", "trigger_id")
_LONGEST_CHECK: Final = 1_024

Kind = Literal["slash_commands", "interactive", "events_api", "url_verification", "ssl_check"]


@dataclass(frozen=True, slots=True)
class Received:
    """A request that Slack signed; only `ssl_check`, which carries nothing, may come unsigned."""

    kind: Kind
    payload: Json


class Guard:
    """Lets in what was signed with `secret` within five minutes of `clock`, in Unix seconds."""

    def __init__(self, secret: str, *, clock: Callable[[], float] = time.time) -> None:
        if not secret:
            raise ValueError("an empty signing secret would let everybody in")
        self._secret, self._clock = secret.encode(), clock

    async def admit(self, scope: Scope, receive: Receive) -> Received:
        """Reads the request; raises Rejected. The order is cheap checks first, the signature before any parsing."""
        headers = single_headers(scope, _SINGLE)
        content_type = _content_type(headers)
        body = await read_body(headers.get(b"content-length", b""), receive)
        if content_type == FORM and _STAMP not in headers and _SIGNATURE not in headers and _is_ssl_check(body):
            return Received("ssl_check", {})
        self._verify(headers, body)
        try:
            return _event(read_json(body)) if content_type == JSON else _form(read_form(body))
        except BadInput:
            raise Rejected(400, "bad_input") from None

    def _verify(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        stamp, signature = headers.get(_STAMP, b""), headers.get(_SIGNATURE, b"")
        if not stamp or not signature:
            raise Rejected(401, "sig_missing")
        if not stamp.isdigit() or len(stamp) > 12:
            raise Rejected(401, "sig_invalid")
        if abs(self._clock() - int(stamp)) > WINDOW_SECONDS:
            raise Rejected(401, "sig_expired")
        mac = hmac.digest(self._secret, b"v0:%b:%b" % (stamp, body), "sha256").hex()
        if not hmac.compare_digest(b"v0=" + mac.encode(), signature):
            raise Rejected(401, "sig_invalid")


def _content_type(headers: Mapping[bytes, bytes]) -> bytes:
    content_type = headers.get(b"content-type", b"").lower()
    if content_type not in (FORM, JSON) or headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Rejected(415, "content_type")
    return content_type


def _is_ssl_check(body: bytes) -> bool:
    """Slack's certificate check is not signed (docs.slack.dev/interactivity/implementing-slash-commands); it asks for nothing."""
    if b"ssl_check" not in body or len(body) > _LONGEST_CHECK:
        return False
    try:
        fields = read_form(body)
    except BadInput:
        return False
    return fields.get("ssl_check") == "1" and not fields.keys() & {"command", "payload"}


def _form(fields: dict[str, str]) -> Received:
    if fields.get("ssl_check") == "1":
        return Received("ssl_check", {})
    if "payload" in fields and "command" not in fields:
        return Received("interactive", read_json(fields["payload"]))
    if all(fields.get(name) for name in _SLASH_FIELDS) and "payload" not in fields:
        return Received("slash_commands", fields)
    raise BadInput


def _event(payload: Json) -> Received:
    if payload.get("type") == "url_verification":
        if not isinstance(payload.get("challenge"), str):
            raise BadInput
        return Received("url_verification", payload)
    return Received("events_api", payload)
