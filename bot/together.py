"""Asking once for all who want to know at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

from .hubs import Hub

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MOMENT: Final = 0.02


class Together(Generic[K, V]):
    """Whoever asks within `moment` seconds of the first waits for one reading of everybody's keys; who asks later, for the next one."""

    def __init__(self, hub: Callable[[], Hub], read: Callable[[frozenset[K]], Awaitable[Mapping[K, V]]], *, moment: float = MOMENT) -> None:
        self._hub, self._read, self._moment = hub, read, moment
        self._keys: set[K] = set()
        self._reading: asyncio.Task[Mapping[K, V]] | None = None

    async def get(self, key: K) -> V:
        """What is read for this key; raises what the reading raises. Nobody's leaving ends it, but the hub's end."""
        self._keys.add(key)
        if self._reading is None:
            self._reading = self._hub().for_all(self._read_all())
        return (await asyncio.shield(self._reading))[key]

    async def _read_all(self) -> Mapping[K, V]:
        await asyncio.sleep(self._moment)
        keys, self._keys, self._reading = frozenset(self._keys), set(), None
        return await self._read(keys)
