"""Slash commands as Slack sends them, signed and ready for the wire, so that making them costs nothing while a clock runs."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from benchmarks.hubs import HubAddresses

TEAM = "T0BENCH"
CHANNEL = "C0BENCH"


@dataclass(frozen=True, slots=True)
class Slashes:
    """Requests, and the id that each carries in its text; both in the same order."""

    ids: Sequence[str]
    requests: Sequence[bytes]


def signed_slashes(count: int, *, hub: HubAddresses, response_url: str) -> Slashes:
    """Whole HTTP/1.1 requests, no two alike now or in an earlier call, signed for this second and good for five minutes.

    Signature as in https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    batch, second = secrets.token_hex(6), int(time.time())
    where = urlsplit(hub.slack_url)
    key, basis = hub.signing_secret.encode(), f"v0:{second}:".encode()
    before_id, after_id = _body(hub, response_url, batch).split("IDENTIFIER")
    head = (
        f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nUser-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\n"
        f"Accept: application/json,*/*\r\nContent-Type: application/x-www-form-urlencoded\r\nX-Slack-Request-Timestamp: {second}\r\n"
        "X-Slack-Signature: v0="
    )
    ids, requests = [], []
    for number in range(count):
        name = f"bench-{batch}-{number}"
        body = f"{before_id}{name}{after_id}{number}".encode()
        signature = hmac.digest(key, basis + body, hashlib.sha256).hex()
        ids.append(name)
        requests.append(f"{head}{signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return Slashes(ids, requests)


def _body(hub: HubAddresses, response_url: str, batch: str) -> str:
    fields = {
        "token": "legacy-and-unused",
        "team_id": TEAM,
        "team_domain": "bench",
        "channel_id": CHANNEL,
        "channel_name": "ops",
        "user_id": hub.asker,
        "user_name": "ada",
        "command": hub.command,
        "text": hub.text.format(id="IDENTIFIER"),
        "api_app_id": "A0BENCH",
        "is_enterprise_install": "false",
        "response_url": response_url,
        # Last, because the number of the request is appended to it.
        "trigger_id": f"{int(batch, 16)}.",
    }
    return urlencode(fields)
