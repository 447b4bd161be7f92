"""(d) How fast the audit is verified, against a bare loop that fetches the same texts and payloads through psycopg and hashes each.

The bare loop runs twice: with a plain cursor, and with rows fetched in chunks, the fastest way found. 200,000 events, sealed and anchored.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
from sqlalchemy import text

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from store.anchors import FileAnchor, anchor_missing
from store.databases import open_engine, plain_url, reading, transaction
from store.migrating import migrate
from store.sealing import load_or_create_key, seal
from store.verify_audit import verify

ROWS = 200_000
FILL = """INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'run:submitted',
    'actor', 'person-' || i % 50, 'run', gen_random_uuid(), 'detail', json_build_object('command', 'deploy', 'door', 'slack',
    'because', 'release of the day', 'digest', encode(sha256(i::text::bytea), 'hex')))::text FROM generate_series(1, 20000) AS i"""
TEXTS: LiteralString = "SELECT canonical, payload, uuid_send(salt) FROM audit_events"

BARE = "bare fetch and SHA-256"
CHUNKS = "the same, fetched in chunks"
RATE = "audit events verified, 1/s"


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of all sides."""
    name = f"audit_{uuid4().hex[:6]}"
    services.postgres.create_database(name)
    urls = services.postgres.urls_for(name)
    await asyncio.to_thread(migrate, urls.owner)
    key, anchors = services.folder / f"{name}.pem", services.folder / f"{name}.jsonl"
    await _fill(urls.worker, key, anchors)
    await asyncio.to_thread(_vacuum, urls.owner)
    dsn = plain_url(urls.worker)
    sides: Mapping[str, Callable[[], None]] = {
        OURS: partial(_verify, dsn, anchors, key.with_suffix(".pub")),
        BARE: partial(_fetch_and_hash, dsn, chunks=False),
        CHUNKS: partial(_fetch_and_hash, dsn, chunks=True),
    }
    return await interleaved({side: partial(_rate, work) for side, work in sides.items()}, rounds=options.rounds)


async def _rate(work: Callable[[], None]) -> Mapping[str, float]:
    started = time.perf_counter()
    await asyncio.to_thread(work)
    return {RATE: ROWS / (time.perf_counter() - started)}


async def _fill(url: str, key: Path, anchors: Path) -> None:
    engine = open_engine(url, name="benchmark", pool=1, door=False)
    for _ in range(ROWS // 20_000):
        async with transaction(engine) as session:
            await session.execute(text(FILL))
    signer = load_or_create_key(key)
    while True:
        async with transaction(engine) as session:
            if await seal(session, signer) is None:
                break
    async with reading(engine) as reader:
        await anchor_missing(reader, FileAnchor(anchors))
    await engine.dispose()


def _vacuum(url: str) -> None:
    with psycopg.connect(plain_url(url), autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE audit_events, audit_leaves, audit_blocks")


def _fetch_and_hash(dsn: str, *, chunks: bool) -> None:
    rows = 0
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for canonical, payload, salt in cursor.stream(TEXTS, size=1000) if chunks else cursor.execute(TEXTS):
            hashlib.sha256(canonical.encode()).digest()
            hashlib.sha256(salt + payload.encode()).digest()
            rows += 1
    _expect(rows == ROWS, f"The loop read {rows} events.")


def _verify(dsn: str, anchors: Path, public_key: Path) -> None:
    report = verify(dsn, anchor_path=anchors, public_key_path=public_key)
    _expect(report.rows == ROWS and not report.problems, f"{report.rows} events verified, {report.problems}")


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise BenchmarkError(otherwise)


if __name__ == "__main__":
    programs.main(measure)
