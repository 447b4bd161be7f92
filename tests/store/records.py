"""An audit to seal, change behind everybody's back and verify: what the tests of the record share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from store.anchors import FileAnchor, anchor_missing
from store.audits import AuditEvent, record
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from store.sealing import Block, load_or_create_key, seal
from store.verify_audit import Report, verify

PEOPLE = ("ada", "lin", "kim", "max")


@dataclass
class Record:
    """One database's audit with its key and its anchor file."""

    urls: DatabaseUrls
    folder: Path
    engine: AsyncEngine

    @property
    def key(self) -> Path:
        return self.folder / "keys" / "audit.pem"

    @property
    def anchors(self) -> Path:
        return self.folder / "anchors" / "audit.jsonl"

    async def tell(self, events: int, *, run: UUID | None = None) -> None:
        """Record this many events in one transaction."""
        async with transaction(self.engine) as session:
            await record(session, [AuditEvent("run:submitted", PEOPLE[i % 4], run, {"n": i, "ü": "ä"}) for i in range(events)])

    async def seal(self) -> list[Block]:
        """Seal all there is, and anchor it."""
        signer, blocks = load_or_create_key(self.key), []
        while block := await self._seal_one(signer):
            blocks.append(block)
        await self.anchor()
        return blocks

    async def anchor(self) -> None:
        anchor = FileAnchor(self.anchors)
        async with reading(self.engine) as session:
            await anchor_missing(session, anchor)
        anchor.close()

    async def fill(self, *, blocks: int, events: int) -> None:
        """Blocks of so many events each."""
        for _ in range(blocks):
            await self.tell(events)
            await self.seal()

    def verify(self) -> Report:
        return verify(self.urls.worker, anchor_path=self.anchors, public_key_path=self.key.with_suffix(".pub"))

    def query(self, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(plain(self.urls.owner)) as owner:
            return owner.execute(query, values).fetchall()

    def tamper(self, *statements: LiteralString, values: dict[str, Any] | None = None) -> None:
        """Change rows as somebody with the owner's password would: with the triggers and the reference out of the way."""
        with psycopg.connect(plain(self.urls.owner)) as owner:
            owner.execute(OFF)
            for statement in statements:
                owner.execute(statement, values)
            owner.execute(ON)

    def keep(self) -> None:
        """Remember all rows for `restore`."""
        with psycopg.connect(plain(self.urls.owner)) as owner:
            owner.execute(KEEP)

    def restore(self) -> None:
        """Bring the rows back as they were kept."""
        self.tamper(RESTORE)

    async def _seal_one(self, signer: Any) -> Block | None:
        async with transaction(self.engine) as session:
            return await seal(session, signer)


OFF: LiteralString = """
ALTER TABLE audit_leaves DROP CONSTRAINT IF EXISTS fk_audit_leaves_event_id;
ALTER TABLE audit_events DISABLE TRIGGER USER; ALTER TABLE audit_leaves DISABLE TRIGGER USER; ALTER TABLE audit_blocks DISABLE TRIGGER USER
"""
ON: LiteralString = """
ALTER TABLE audit_events ENABLE TRIGGER USER; ALTER TABLE audit_leaves ENABLE TRIGGER USER; ALTER TABLE audit_blocks ENABLE TRIGGER USER
"""
KEEP: LiteralString = """
CREATE TABLE kept_events AS SELECT * FROM audit_events; CREATE TABLE kept_leaves AS SELECT * FROM audit_leaves;
CREATE TABLE kept_blocks AS SELECT * FROM audit_blocks
"""
RESTORE: LiteralString = """
TRUNCATE audit_events, audit_leaves, audit_blocks, audit_unsealed; INSERT INTO audit_leaves SELECT * FROM kept_leaves;
INSERT INTO audit_blocks SELECT * FROM kept_blocks;
INSERT INTO audit_events (seq, id, canonical, leaf, payload, salt) OVERRIDING SYSTEM VALUE
SELECT seq, id, canonical, leaf, payload, salt FROM kept_events
"""


@asynccontextmanager
async def opened(urls: DatabaseUrls, folder: Path) -> AsyncIterator[Record]:
    """The record of a fresh database, written as the worker writes it."""
    engine = open_engine(urls.worker, name="test", pool=4, door=False)
    yield Record(urls, folder, engine)
    await engine.dispose()


def plain(url: str) -> str:
    """The URL as psycopg wants it."""
    return url.replace("postgresql+psycopg://", "postgresql://")
