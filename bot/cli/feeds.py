"""What happens in a channel while one looks at it: one thread that follows the hub's stream of events."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from .clients import Client
from .endings import Failed, WrongCall
from .identities import Identity

AGAIN_SECONDS: Final = 1.0


class Feed:
    """Calls `show` with each message of a channel as it changes, until it is stopped; connects again when the stream ends."""

    def __init__(self, identity: Identity, channel: str, *, after: int, show: Callable[[dict[str, Any]], None]) -> None:
        self._client = Client(identity)
        self._channel, self._after, self._show = channel, after, show
        self._stopped = threading.Event()
        self._showing = threading.Lock()
        self.heard = time.monotonic()
        """When the last message came."""
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Shows nothing any more from now on."""
        with self._showing:
            self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (httpx.HTTPError, ValueError, Failed, WrongCall):
                # A hub that starts again sends what changed meanwhile.
                self._stopped.wait(AGAIN_SECONDS)
        self._client.close()

    def _follow(self) -> None:
        for _, data in self._client.events("/room/events", channel=self._channel, after=self._after):
            with self._showing:
                if self._stopped.is_set():
                    return
                self.heard = time.monotonic()
                self._show(json.loads(data))
        self._stopped.wait(AGAIN_SECONDS)
