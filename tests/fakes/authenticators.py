"""The kit's software authenticator, and what only a forger needs of it."""

from typing import Any

from kit.authenticators import AT, ORIGIN, UP, UV, Authenticator, Key, decoded, encoded

__all__ = ["AT", "ORIGIN", "UP", "UV", "Authenticator", "Key", "decoded", "encoded", "request"]


def request(challenge: bytes, *keys: Key) -> dict[str, Any]:
    """Options for signing a challenge of one's own making."""
    return {"publicKey": {"challenge": encoded(challenge), "allowCredentials": [{"id": encoded(one.id)} for one in keys]}}
