"""The triggers as this process knows them, with their secrets opened; read again whenever Postgres says that they changed."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from nacl.exceptions import CryptoError

from bot.hubs import Hub
from commands.triggering import Kind, Sender
from store.secrets import Opener
from store.triggers import TriggerRow, find_triggers

from .proofs import DELIVERY_HEADERS, EVENT_HEADERS, Options

_log = logging.getLogger(__name__)
FRESH_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Door:
    """One trigger: how its deliveries are proved, and which headers matter."""

    row: TriggerRow
    sender: Sender
    kind: Kind
    options: Options
    delivery_header: bytes
    event_header: bytes
    secret: bytes
    previous: bytes
    previous_until: datetime | None

    def secrets(self, now: datetime) -> Sequence[bytes]:
        """Always two, so that a trigger whose secret was changed takes no longer than another."""
        live = self.previous and self.previous_until is not None and now < self.previous_until
        return self.secret, self.previous if live else os.urandom(32)

    @property
    def headers(self) -> frozenset[bytes]:
        """Those that it reads."""
        return _COMMON | {self.delivery_header, self.event_header, self.options.header, self.options.timestamp_header}


_COMMON: Final = frozenset(
    {
        b"authorization",
        b"client-cert",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"sentry-hook-signature",
        b"stripe-signature",
        b"x-grafana-alerting-signature",
        b"x-hub-signature-256",
        b"x-signature-256",
    }
)


class Doors:
    """All triggers by id; and one that nobody can open, for ids of none."""

    def __init__(self, hub: Hub, opener: Opener) -> None:
        self._hub, self._opener = hub, opener
        self._doors: dict[UUID, Door] = {}
        self._read_at = -FRESH_SECONDS
        self._reading: asyncio.Lock = asyncio.Lock()
        self._nobody = Door(TriggerRow(), Sender.signed, Kind.command, Options(), b"x-delivery-id", b"x-event", os.urandom(32), b"", None)
        hub.notices.on("countersign_people", self._forget)

    async def find(self, trigger: UUID | None) -> tuple[Door, bool]:
        """The door of this trigger, or the one that leads nowhere; and whether it is a trigger's."""
        if time.monotonic() - self._read_at >= FRESH_SECONDS:
            await self._read()
        found = self._doors.get(trigger) if trigger else None
        return found or self._nobody, found is not None

    async def _read(self) -> None:
        async with self._reading:
            if time.monotonic() - self._read_at < FRESH_SECONDS:
                return
            asked = time.monotonic()
            rows = await self._hub.read(find_triggers)
            known = {one.row.id: one for one in self._doors.values()}
            self._doors = {row.id: self._door(row, known.get(row.id)) for row in rows}
            self._read_at = asked

    def _door(self, row: TriggerRow, known: Door | None) -> Door:
        if known is not None and known.row.revision == row.revision:
            return known
        sender, body = Sender(row.sender), row.body
        options = Options(body.get("header", "").lower().encode(), body.get("timestamp_header", "").lower().encode())
        return Door(
            row,
            sender,
            Kind(row.kind),
            options,
            DELIVERY_HEADERS.get(sender, b"x-delivery-id"),
            EVENT_HEADERS.get(sender, b"x-event"),
            self._opened(row.name, row.secret),
            self._opened(row.name, row.previous) if row.previous else b"",
            row.previous_until,
        )

    def _opened(self, name: str, sealed: bytes) -> bytes:
        """One that was sealed to other keys, those of a restored hub for instance, proves nothing; the others go on."""
        try:
            return self._opener.open(sealed).encode()
        except CryptoError:
            _log.error("the secret of trigger %s was sealed to another key; rotate it", name)
            return os.urandom(32)

    def _forget(self, table: str) -> None:
        if table in ("", "triggers"):
            self._read_at = -FRESH_SECONDS
