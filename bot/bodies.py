"""Raw request bodies, for doors that read a stranger's bytes themselves: bounded in size and time, headers that mean one thing."""

import asyncio
from collections.abc import Collection
from typing import Final

from starlette.types import Receive, Scope

MOST_BYTES: Final = 256 * 1024
READ_SECONDS: Final = 2.5
Headers = dict[bytes, bytes]


class Rejected(Exception):
    """The request is not what this door takes; `reason` is the word by which it is counted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def single_headers(scope: Scope, names: Collection[bytes]) -> Headers:
    """The headers that matter; raises Rejected 400 for one that is given twice, which could be read in two ways."""
    found: Headers = {}
    for name, value in scope["headers"]:
        if name in names:
            if name in found:
                raise Rejected(400, "ambiguous_headers")
            found[name] = value
    return found


async def read_body(declared: bytes, receive: Receive) -> bytes:
    """The whole body; raises Rejected 413, before the rest is read, 408 or 400. `declared` is its Content-Length, or empty."""
    if declared.isdigit() and (len(declared) > 9 or int(declared) > MOST_BYTES):
        raise Rejected(413, "too_large")
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _read(receive)
    except TimeoutError:
        raise Rejected(408, "too_slow") from None


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "gone")
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise Rejected(413, "too_large")
        if not message.get("more_body"):
            return bytes(body)
