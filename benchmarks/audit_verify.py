"""How fast the audit is verified, against a bare loop that fetches the same texts through psycopg and hashes each with SHA-256.

The bare loop is run twice: with a plain cursor, and with rows fetched in chunks, the fastest way found. All run in one process, one
after the other, in five interleaved rounds over 200,000 events in an embedded Postgres.
"""

import asyncio
import hashlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import LiteralString

import psycopg
from sqlalchemy import text

from store.anchors import FileAnchor, anchor_missing
from store.databases import open_engine, reading, transaction
from store.embedded.postgres import EmbeddedPostgres
from store.migrating import migrate
from store.sealing import load_or_create_key, seal
from store.verify_audit import verify

ROWS = 200_000
ROUNDS = 5
FILL = """INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'run:submitted',
    'actor', 'person-' || i % 50, 'run', gen_random_uuid(), 'detail', json_build_object('command', 'deploy', 'door', 'slack',
    'because', 'release of the day', 'digest', encode(sha256(i::text::bytea), 'hex')))::text FROM generate_series(1, 20000) AS i"""


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="countersign-bench-"))
    folder.chmod(0o711)
    postgres = EmbeddedPostgres(folder, durable=False)
    try:
        postgres.start()
        migrate(postgres.urls.owner)
        key, anchors = folder / "audit-key.pem", folder / "anchors.jsonl"
        asyncio.run(fill(postgres.urls.worker, key, anchors))
        dsn = postgres.urls.worker.replace("+psycopg", "")
        with psycopg.connect(postgres.urls.owner.replace("+psycopg", ""), autocommit=True) as owner:
            owner.execute("VACUUM ANALYZE audit_events, audit_leaves, audit_blocks")
        compare(dsn, key.with_suffix(".pub"), anchors)
    finally:
        postgres.stop()
        shutil.rmtree(folder)


async def fill(url: str, key: Path, anchors: Path) -> None:
    engine = open_engine(url, name="benchmark", pool=1, door=False)
    for _ in range(ROWS // 20_000):
        async with transaction(engine) as session:
            await session.execute(text(FILL))
    signer, started = load_or_create_key(key), time.perf_counter()
    while True:
        async with transaction(engine) as session:
            if await seal(session, signer) is None:
                break
    print(f"sealed {ROWS / (time.perf_counter() - started):,.0f} events/s")
    async with reading(engine) as reader:
        await anchor_missing(reader, FileAnchor(anchors))
    await engine.dispose()


def compare(dsn: str, public_key: Path, anchors: Path) -> None:
    rates: dict[str, list[float]] = {"bare loop": [], "bare loop, fetched in chunks": [], "verify": []}
    for _ in range(ROUNDS):
        rates["bare loop"].append(rate_of_bare_loop(dsn, chunks=False))
        rates["bare loop, fetched in chunks"].append(rate_of_bare_loop(dsn, chunks=True))
        rates["verify"].append(rate_of_verify(dsn, public_key, anchors))
    medians = {name: statistics.median(rounds) for name, rounds in rates.items()}
    for name, rounds in rates.items():
        print(f"{name:<30}{medians[name]:>10,.0f} rows/s   rounds: {' '.join(f'{rate:,.0f}' for rate in rounds)}")
    print(f"verify / bare loop: {medians['verify'] / medians['bare loop']:.2f} (target 0.7);", end=" ")
    print(f"verify / bare loop, fetched in chunks: {medians['verify'] / medians['bare loop, fetched in chunks']:.2f}")


def rate_of_bare_loop(dsn: str, *, chunks: bool) -> float:
    query: LiteralString = "SELECT canonical FROM audit_events"
    started, rows = time.perf_counter(), 0
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for (canonical,) in cursor.stream(query, size=1000) if chunks else cursor.execute(query):
            hashlib.sha256(canonical.encode()).digest()
            rows += 1
    assert rows == ROWS
    return rows / (time.perf_counter() - started)


def rate_of_verify(dsn: str, public_key: Path, anchors: Path) -> float:
    started = time.perf_counter()
    report = verify(dsn, anchor_path=anchors, public_key_path=public_key)
    assert report.rows == ROWS, report
    assert not report.problems, report.problems
    return ROWS / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
