"""Databases that one test of a file hands over to the next: what it wrote is gone, and what was there before it is there again.

Making one and deleting it takes 36 ms of processor, and its connections three times that; to empty one that has little in it takes 5 ms.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from kit.servers import Servers
from store.databases import plain_url
from store.embedded import DatabaseUrls
from tests.engines import Kept

GONE_SECONDS: Final = 0.05
"""For so long a process of Postgres may be left whose client has just closed its connection."""
# Whatever changes a definition leaves a row with a newer transaction in one of these, or one row less.
_CATALOGUES: Final = (
    *("class", "attribute", "attrdef", "constraint", "index", "trigger", "proc", "type", "rewrite", "policy", "namespace"),
    *("inherits", "event_trigger", "extension", "statistic_ext", "default_acl", "db_role_setting"),
)
_DEFINITIONS: Final = " UNION ALL ".join(f"(SELECT count(*), max(xmin::text::bigint) FROM pg_{name})" for name in _CATALOGUES)  # noqa: S608  constants
_IN_USE: Final = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0 ORDER BY relname
"""
_SEQUENCES: Final = "SELECT sequencename, start_value, last_value FROM pg_sequences WHERE schemaname = 'public'"
_OTHERS: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass
class Handover:
    """A file's databases of one kind: copies of the one named `like`."""

    servers: Servers
    like: str
    _free: "list[_Database]" = field(default_factory=list, init=False)

    async def aclose(self) -> None:
        """Drops them."""
        while self._free:
            await self._drop(self._free.pop())

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[DatabaseUrls]:
        """One for a test; it is handed over afterwards, unless somebody is connected still or the test changed a definition in it."""
        one = self._free.pop() if self._free else self._new()
        try:
            yield one.kept.urls
        finally:
            if await one.restored():
                self._free.append(one)
            else:
                await self._drop(one)

    def _new(self) -> "_Database":
        urls = self.servers.fresh_database(like=self.like, lent=False)
        name = str(make_url(urls.owner).database)
        hand = make_url(self.servers.postgres.superuser_url).set(database=name).render_as_string(hide_password=False)
        return _Database(name, Kept(urls), psycopg.connect(plain_url(hand), autocommit=True))

    async def _drop(self, one: "_Database") -> None:
        await one.close()
        self.servers.postgres.drop_database(one.name)


@dataclass
class _Database:
    """One of them, and the hand that puts it in order."""

    name: str
    kept: Kept
    hand: psycopg.Connection[Any]

    def __post_init__(self) -> None:
        self.hand.execute("SET session_replication_role = replica; SET lock_timeout = '1s'")
        self._definitions = self._read(_DEFINITIONS)
        self._sequences = self._read(_SEQUENCES)
        self._rows = {name: self._copied(name) for (name,) in self._read(_IN_USE)}

    async def close(self) -> None:
        self.hand.close()
        await self.kept.aclose()

    async def restored(self) -> bool:
        """Whether it is as it was when it was made."""
        try:
            if await self._others_are_gone() and self._read(_DEFINITIONS) == self._definitions:
                with self.hand.transaction():
                    self._restore()
                return True
        except psycopg.Error:
            return False
        return False

    async def _others_are_gone(self) -> bool:
        until = time.monotonic() + GONE_SECONDS
        while self._read(_OTHERS)[0][0] > self.kept.idle:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(GONE_SECONDS / 10)
        return True

    def _restore(self) -> None:
        for (name,) in self._read(_IN_USE):
            self.hand.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
        for name, rows in self._rows.items():
            with self.hand.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(sql.Identifier(name))) as copy:
                copy.write(rows)
        before = {name: (start, last) for name, start, last in self._sequences}
        for name, _, last in self._read(_SEQUENCES):
            start, first = before[name]
            if last != first:
                self.hand.execute("SELECT setval(%s, %s, %s)", [name, first or start, first is not None])

    def _copied(self, name: str) -> bytes:
        with self.hand.cursor().copy(sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(name))) as copy:
            return b"".join(bytes(part) for part in copy)

    def _read(self, statement: str) -> list[tuple[Any, ...]]:
        return self.hand.execute(statement).fetchall()
