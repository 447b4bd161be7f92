"""sealing: audit events become signed blocks within a second, and every block is anchored outside Postgres."""

import asyncio
import logging
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from automations.services import Services
from store.anchors import AnchorError, FileAnchor, OutputAnchor, anchor_missing
from store.sealing import Block, Signer, load_or_create_key, seal
from store.settings import Settings
from store.verifications import note_anchored

_log = logging.getLogger(__name__)
SEAL_SECONDS: Final = 1.0


def signer_of(settings: Settings) -> Signer:
    """The audit's signing key, which lives outside the database."""
    return load_or_create_key(settings.data_dir / "keys" / "audit.pem")


def anchor_of(settings: Settings) -> FileAnchor:
    """The anchor file: `COUNTERSIGN_ANCHOR`, which should be on another disk, or beside the data."""
    return FileAnchor(settings.anchor or settings.data_dir / "anchors" / "audit.jsonl")


async def seal_always(services: Services) -> None:
    """Seals every second until cancelled."""
    signer, anchor, output = signer_of(services.settings), anchor_of(services.settings), OutputAnchor()
    noted = 0
    while True:
        try:
            async with services.reading() as session:
                await anchor_missing(session, anchor)
            while block := await _seal_one(services, signer):
                await asyncio.to_thread(anchor.anchor, block)
                output.anchor(block)
            if anchor.last > noted:
                async with services.transaction() as session:
                    await note_anchored(session, anchor.last)
                noted = anchor.last
        except (SQLAlchemyError, OSError, AnchorError) as error:
            _log.warning("sealing is interrupted: %s", error if isinstance(error, AnchorError) else type(error).__name__)
        await asyncio.sleep(SEAL_SECONDS)


async def _seal_one(services: Services, signer: Signer) -> Block | None:
    async with services.transaction() as session:
        return await seal(session, signer)
