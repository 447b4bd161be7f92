"""What a log costs in Postgres: a row for each line against a row for each chunk, written in the same batches. `python -m benchmarks.logs`

A step writes 10,000 lines of 80 letters, 250 of them in a quarter of a second, and each batch is one committed transaction. Both tables
have the columns and indexes that we have, or had; the server is durable.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import uvloop

from benchmarks.rounds import interleaved
from store.embedded.postgres import EmbeddedPostgres

LINES: Final = 10_000
BATCH: Final = 250
ROUNDS: Final = 5
_COLUMNS: Final = (
    "n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id uuid NOT NULL, position int NOT NULL, at timestamptz DEFAULT now()"
)
_TABLES: Final = {
    "lines": (f"{_COLUMNS}, line text NOT NULL", "(run_id, position, line) SELECT %s, 0, unnest(%s::text[])"),
    "chunks": (f"{_COLUMNS}, size int NOT NULL, lines text[] NOT NULL", "(run_id, position, size, lines) VALUES (%s, 0, 250, %s::text[])"),
}


def main() -> None:
    """Prints bytes of write-ahead log and of table for each line, and milliseconds for all of them."""
    with tempfile.TemporaryDirectory(prefix="countersign-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        try:
            with psycopg.connect(postgres.superuser_url.replace("+psycopg", ""), autocommit=True) as connection:
                samplers = {one: _Side(connection, one).sample for one in _TABLES}
                figures = uvloop.run(interleaved(samplers, rounds=ROUNDS))
        finally:
            postgres.stop()
    print(f"{LINES:,} lines of 80 letters in batches of {BATCH}; medians of {ROUNDS} interleaved rounds [lowest-highest]")
    print(*(one.line() for one in figures), sep="\n")


class _Side:
    """One way to keep lines; each round begins with an empty table."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], name: str) -> None:
        self._connection, self._table = connection, f"bench_{name}"
        self._columns, self._insert = _TABLES[name]

    async def sample(self) -> Mapping[str, float]:
        run = uuid4()
        lines = [os.urandom(40).hex() for _ in range(LINES)]
        self._do(f"DROP TABLE IF EXISTS {self._table}")
        self._do(f"CREATE TABLE {self._table} ({self._columns})")
        self._do(f"CREATE INDEX ON {self._table} (run_id, n)")
        self._do("CHECKPOINT")
        before, began = self._number("SELECT pg_current_wal_lsn() - '0/0'"), time.perf_counter()
        for start in range(0, LINES, BATCH):
            self._connection.execute(f"INSERT INTO {self._table} {self._insert}", (run, lines[start : start + BATCH]))
        seconds = time.perf_counter() - began
        wal = self._number("SELECT pg_current_wal_lsn() - '0/0'") - before
        size = self._number(f"SELECT pg_total_relation_size('{self._table}')")
        return {"bytes of WAL a line": wal / LINES, "bytes on disk a line": size / LINES, "ms for all": seconds * 1_000}

    def _do(self, statement: str) -> None:
        self._connection.execute(statement)

    def _number(self, query: str) -> float:
        row = self._connection.execute(query).fetchone()
        assert row
        return float(row[0])


if __name__ == "__main__":
    main()
