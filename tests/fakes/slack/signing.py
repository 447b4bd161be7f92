"""Slack's request signature, and the ways a hostile or broken sender gets it wrong."""

import hashlib
import hmac
import time
from dataclasses import dataclass, replace
from typing import Any, Self


def sign(secret: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """Return the two headers that prove a body is Slack's (docs.slack.dev/authentication/verifying-requests-from-slack)."""
    moment = str(int(time.time()) if timestamp is None else timestamp)
    mac = hmac.new(secret.encode(), b"v0:" + moment.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": f"v0={mac}"}


@dataclass(frozen=True)
class SignedRequest:
    """One request as it goes out: `kind` and `payload` are what Socket Mode would send, body and headers what HTTP does."""

    kind: str
    payload: dict[str, Any]
    body: bytes
    headers: dict[str, str]
    secret: str

    @classmethod
    def of(cls, kind: str, payload: dict[str, Any], *, body: bytes, content_type: str, secret: str) -> Self:
        return cls(kind, payload, body, {"Content-Type": content_type, **sign(secret, body)}, secret)

    def tampered(self, body: bytes) -> Self:
        """The same signature over another body."""
        return replace(self, body=body)

    def aged(self, seconds: int) -> Self:
        """Signed correctly, but that long ago (negative: in the future)."""
        return replace(self, headers={**self.headers, **sign(self.secret, self.body, int(time.time()) - seconds)})

    def signed_with(self, secret: str) -> Self:
        """Signed with another secret."""
        return replace(self, headers={**self.headers, **sign(secret, self.body)})

    def unsigned(self) -> Self:
        """Without the two headers."""
        return replace(self, headers={key: value for key, value in self.headers.items() if not key.startswith("X-Slack-")})

    def with_headers(self, headers: dict[str, str]) -> Self:
        return replace(self, headers={**self.headers, **headers})
