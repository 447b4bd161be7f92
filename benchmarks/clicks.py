"""Clicks on cards as Slack sends them, and reads of an inbox, ready for the wire, so that making them costs nothing while a clock runs."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from benchmarks.crowds import digest_of, run_id
from benchmarks.hubs import HubAddresses
from benchmarks.slashes import TEAM
from countersign.replies import Button
from integrations.slack.roundtrips import PREFIX, button_value

Click = tuple[int, str, tuple[str, str]]
"""A request by its number, who clicks, and the message they click on by its channel and ts."""


def signed_clicks(clicks: Sequence[Click], *, hub: HubAddresses, response_url: str) -> list[bytes]:
    """Whole HTTP/1.1 requests, each an approval of one plan by one person, signed for this second and good for five minutes."""
    second, where, batch = int(time.time()), urlsplit(hub.slack_url), secrets.token_hex(4)
    requests = []
    for position, (number, person, message) in enumerate(clicks):
        payload = _payload(number, person, message, trigger=f"{batch}.{position}", response_url=response_url)
        body = urlencode({"payload": json.dumps(payload)}).encode()
        signature = hmac.digest(hub.signing_secret.encode(), f"v0:{second}:".encode() + body, hashlib.sha256).hex()
        head = (
            f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nUser-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\n"
            f"Accept: application/json,*/*\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"X-Slack-Request-Timestamp: {second}\r\nX-Slack-Signature: v0={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def inbox_reads(tokens: Sequence[str], *, hub: HubAddresses) -> list[bytes]:
    """One read of the first page for each of these personal tokens."""
    where = urlsplit(hub.slack_url)
    return [f"GET /api/v1/inbox HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n".encode() for token in tokens]


def account_of(person: str) -> str:
    """The Slack account of somebody of the crowd."""
    return f"U0{person.upper()}"


def _payload(number: int, person: str, message: tuple[str, str], *, trigger: str, response_url: str) -> dict[str, object]:
    """A `block_actions` payload: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload"""
    button = Button(label="Approve", intent="approve", target=str(run_id(number)), digest=digest_of(number))
    channel, ts = message
    return {
        "type": "block_actions",
        "token": "legacy-and-unused",
        "api_app_id": "A0BENCH",
        "team": {"id": TEAM, "domain": "bench"},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": account_of(person), "username": person, "name": person, "team_id": TEAM},
        "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False},
        "channel": {"id": channel, "name": "ops"},
        "message": {"type": "message", "ts": ts, "bot_id": "B0BENCH", "text": "", "blocks": []},
        "state": {"values": {}},
        "trigger_id": trigger,
        "response_url": response_url,
        "actions": [
            {
                "type": "button",
                "action_id": f"{PREFIX}{button.intent}:0",
                "block_id": "b",
                "value": button_value(button),
                "action_ts": f"{time.time():.6f}",
            }
        ],
    }
