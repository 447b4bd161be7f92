"""Prove that nobody changed the audit, or name what was changed. A program of its own that shares no code with the writer.

    python store/verify_audit.py --database postgresql://… --anchors anchors.jsonl --public-key audit-key.pub [--json]

It needs Python, psycopg and cryptography, and SELECT on the four audit tables. What the record promises, and this recomputes:

- an event's leaf is SHA-256(0x00, its text in UTF-8), and its text begins with the id, time and order that its row shows;
- a block's root is the Merkle tree of RFC 6962 over its leaves by position, and its header is signed with Ed25519;
- each block's `prev` is the SHA-256 of the header before it, from block 1 on, and each block is in the anchor file outside Postgres.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from psycopg.rows import class_row

UNSEALED_SECONDS: Final = 10
UNANCHORED_SECONDS: Final = 60
MOST_NAMED: Final = 100
"""How many events of one kind of finding are named; the rest is counted."""

_PAGES: Final = 32
_BLOCKS: Final = 64
_CANDIDATES: Final = 200
_TABLES: Final = "ARRAY['audit_events', 'audit_leaves', 'audit_blocks']::regclass[]"
_DERIVED: Final = {
    "at_us": "substrcanonical,54,16::bigint",
    "kind": "canonical::jsonb->>'kind'",
    "actor": "canonical::jsonb->>'actor'",
    "run_id": "canonical::jsonb->>'run'::uuid",
}
# Text in Postgres never holds a zero byte, so zero bytes part one text from the next without doubt.
_STAMPED: Final = """starts_with(canonical, '{"id":"' || id || '","at_us":' || at_us || ',"seq":' || seq || ',"at":"')"""
_WINDOW: Final = "audit_events WHERE ctid >= %s::text::tid AND ctid < %s::text::tid"


class NotVerifiable(Exception):
    """The verification could not be made; the message is one sentence."""


@dataclass
class Report:
    """What was verified and what is wrong; `problems` are sentences, the earliest block first, and empty when all is well."""

    rows: int = 0
    blocks: int = 0
    unsealed: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Header:
    """A row of audit_blocks."""

    n: int
    prev: bytes
    root: bytes
    count: int
    first_us: int
    last_us: int
    sealed_us: int
    key_id: str
    signature: bytes
    old: bool

    def signed_bytes(self) -> bytes:
        return (
            f"countersign audit block 1\nn={self.n}\nprev={self.prev.hex()}\nroot={self.root.hex()}\ncount={self.count}\n"
            f"first_us={self.first_us}\nlast_us={self.last_us}\nsealed_us={self.sealed_us}\nkey_id={self.key_id}"
        ).encode()

    def digest(self) -> bytes:
        return hashlib.sha256(self.signed_bytes()).digest()

    def anchored_as(self) -> dict[str, Any]:
        texts = {"root": self.root, "prev": self.prev, "digest": self.digest(), "signature": self.signature}
        return {"n": self.n, "count": self.count} | {name: value.hex() for name, value in texts.items()}


@dataclass(frozen=True, slots=True)
class Placed:
    """A row of audit_leaves with the event it names, if that is still there."""

    position: int
    event_id: str
    sealed: bytes
    text: bytes | None
    leaf: bytes | None
    stamped: bool
    order: tuple[int, int]

    @property
    def hash(self) -> bytes:
        """The leaf as the text gives it now."""
        return b"" if self.text is None else _leaf_of(self.text)


@dataclass
class Doubts:
    """What the fast pass found wrong, for the slow pass to explain."""

    blocks: set[int] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    loose: dict[str, str] = field(default_factory=dict)
    """Events without a leaf that should have one by now, and why they should."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0 when the record is whole and 1 when it is not or could not be read."""
    parser = argparse.ArgumentParser(prog="verify_audit", description="Prove that nobody changed the audit, or name what was changed.")
    parser.add_argument("--database", required=True, help="postgresql://… of a role that may read the audit tables")
    parser.add_argument("--anchors", required=True, type=Path, help="the anchor file, from where the database's host cannot change it")
    parser.add_argument("--public-key", required=True, type=Path, help="PEM file with the sealers' public keys")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        report = verify(given.database, anchor_path=given.anchors, public_key_path=given.public_key)
    except NotVerifiable as error:
        report = Report(problems=[str(error)])
    if given.json:
        sys.stdout.write(json.dumps(asdict(report) | {"ok": not report.problems}) + "\n")
    else:
        summary = f"{report.rows:,} events in {report.blocks:,} blocks, {report.unsealed:,} not sealed yet"
        lines = report.problems or ["nothing was changed"]
        sys.stdout.write("".join(f"{line}\n" for line in [*lines, summary]))
    return 1 if report.problems else 0


def verify(dsn: str, *, anchor_path: Path, public_key_path: Path) -> Report:
    """Recompute the whole record in one snapshot of the database. Raises NotVerifiable when something cannot be read."""
    keys = _read_keys(public_key_path)
    report = Report()
    # Before the snapshot, so that no block can be anchored and yet too new for it.
    anchors = _read_anchors(anchor_path, report.problems)
    try:
        with _connect(dsn) as connection:
            _check_tables(connection, report.problems)
            headers = _read_headers(connection)
            signed = _check_headers(headers, keys, anchors, report.problems)
            doubts = Doubts()
            report.blocks = len(headers)
            report.rows = _check_events(connection, doubts)
            _check_leaves(connection, headers, doubts)
            report.unsealed = _check_places(connection, report.rows, doubts, report.problems)
            _explain(connection, {n: headers[n] for n in signed}, doubts, report.problems)
    except psycopg.Error as error:
        raise NotVerifiable(f"The audit could not be read from the database: {str(error).strip()}") from error
    return report


def _read_keys(path: Path) -> dict[str, Ed25519PublicKey]:
    end = b"-----END PUBLIC KEY-----"
    keys = {}
    try:
        for pem in path.read_bytes().split(end)[:-1]:
            key = load_pem_public_key(pem.strip() + b"\n" + end + b"\n")
            if isinstance(key, Ed25519PublicKey):
                keys[hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]] = key
    except (OSError, ValueError) as error:
        raise NotVerifiable(f"The public key file {path} cannot be read: {error}") from error
    if not keys:
        raise NotVerifiable(f"The public key file {path} holds no Ed25519 public key in PEM.")
    return keys


def _read_anchors(path: Path, problems: list[str]) -> dict[int, dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NotVerifiable(f"The anchor file {path} cannot be read: {error}") from error
    anchors: dict[int, dict[str, Any]] = {}
    for place, (line, following) in enumerate(pairwise([*lines, b""]), start=1):
        try:
            found = json.loads(line)
            known = anchors.setdefault(found["n"], found)
        except (ValueError, TypeError, KeyError):
            # A crash can tear a line: then it is the last, or the sealer wrote the same line again after it.
            if place < len(lines) and not following.startswith(line):
                problems.append(f"line {place} of the anchor file is damaged")
            continue
        if known != found:
            problems.append(f"line {place} of the anchor file holds another block {found['n']} than an earlier line")
    return anchors


def _connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    settings = "-c search_path=pg_catalog,public -c statement_timeout=0 -c work_mem=64MB -c jit=off -c default_transaction_isolation=repeatable\\ read"
    plain = dsn.replace("postgresql+psycopg://", "postgresql://", 1)
    connection = psycopg.connect(plain, options=settings, cursor_factory=psycopg.Cursor)
    connection.read_only = True
    return connection


def _check_tables(connection: psycopg.Connection[Any], problems: list[str]) -> None:
    # A view, a rule, row security, a second row of one key or a column that is no longer derived could show people something else
    # than what is hashed.
    for table, odd in connection.execute(
        "SELECT relname, relkind <> 'r' OR relhasrules OR relrowsecurity OR relhassubclass OR NOT EXISTS"
        " (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indisvalid AND indnkeyatts = 1)"
        f" FROM pg_class c WHERE oid = ANY ({_TABLES}) ORDER BY relname"
    ):
        if odd:
            problems.append(f"{table} is not the table it was: a view, rule, row security, child table or missing key can hide rows")
    found = connection.execute(
        "SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = 'audit_events'::regclass AND attgenerated = 's'"
    )
    derived = {name: expression.translate(str.maketrans("", "", "() ")).replace("::text", "") for name, expression in found}
    for name, expression in _DERIVED.items():
        if derived.get(name) != expression:
            problems.append(f"the column {name} of audit_events is no longer derived from the text, so what it shows is not proven")


def _read_headers(connection: psycopg.Connection[Any]) -> dict[int, Header]:
    with connection.cursor(binary=True, row_factory=class_row(Header)) as cursor:
        cursor.execute(
            "SELECT n, prev, root, count, first_us, last_us, sealed_us, key_id, signature,"
            " sealed_us < (extract(epoch FROM clock_timestamp()) - %s) * 1000000 AS old FROM audit_blocks ORDER BY n",
            [UNANCHORED_SECONDS],
        )
        return {header.n: header for header in cursor}


def _check_headers(
    headers: dict[int, Header], keys: dict[str, Ed25519PublicKey], anchors: dict[int, dict[str, Any]], problems: list[str]
) -> set[int]:
    proven: set[int] = set()
    found = []
    for n, header in headers.items():
        before, following, anchor = headers.get(n - 1), headers.get(n + 1), anchors.get(n)
        if not _is_signed(header, keys):
            intact = header.digest() in (following and following.prev, anchor and bytes.fromhex(anchor["digest"]))
            unknown = "" if header.key_id in keys else f", or the key {header.key_id} is missing in the public key file"
            found.append(f"block {n}: its {'signature was replaced' if intact else 'header was changed after it was signed'}{unknown}")
            continue
        proven.add(n)
        if n == 1 and header.prev != bytes(32):
            found.append("block 1: it follows another block, so it was not the first")
        if before and n - 1 in proven and header.prev != before.digest():
            found.append(f"block {n}: it does not follow block {n - 1}, so one of them was replaced")
        if anchor and {name: anchor.get(name) for name in header.anchored_as()} != header.anchored_as():
            found.append(f"block {n}: it is not the block that was anchored")
    problems += _capped(found, "blocks")
    for first, last in _gaps(headers, end=max([0, *headers, *anchors])):
        where = "in the anchor file but not in the database" if first in anchors or last in anchors else "missing"
        problems.append(f"{_blocks_are(first, last)} {where}")
    unanchored = [n for n, header in headers.items() if header.old and n not in anchors]
    problems += _capped([f"{_blocks_are(first, last)} not in the anchor file" for first, last in _ranges(unanchored)], "ranges of blocks")
    return proven


def _is_signed(header: Header, keys: dict[str, Ed25519PublicKey]) -> bool:
    try:
        keys[header.key_id].verify(header.signature, header.signed_bytes())
    except (KeyError, InvalidSignature):
        return False
    return True


def _check_events(connection: psycopg.Connection[Any], doubts: Doubts) -> int:
    (size, page) = connection.execute("SELECT pg_relation_size('audit_events'), current_setting('block_size')::int").fetchone() or (0, 1)
    query = (
        "SELECT count(*), string_agg(convert_to(canonical, 'UTF8'), '\\x00'::bytea), string_agg(leaf, ''::bytea),"
        f" bool_and(octet_length(leaf) = 32 AND {_STAMPED}) FROM {_WINDOW}"
    )
    total, sha256 = 0, hashlib.sha256
    with connection.cursor(binary=True) as cursor:
        for start in range(0, size // page, _PAGES):
            window = [f"({start},0)", f"({start + _PAGES},0)"]
            count, texts, leaves, plausible = cursor.execute(query, window, prepare=True).fetchone() or (0, None, None, None)
            total += count
            if count and (not plausible or b"".join([sha256(b"\0" + text).digest() for text in texts.split(b"\0")]) != leaves):
                doubts.events.update(_doubtful(connection, window))
    return total


def _doubtful(connection: psycopg.Connection[Any], window: list[str]) -> Iterator[str]:
    rows = connection.execute(f"SELECT id::text, convert_to(canonical, 'UTF8'), leaf, {_STAMPED} FROM {_WINDOW}", window)
    for event_id, text, leaf, stamped in rows:
        if not stamped or text is None or _leaf_of(text) != leaf:
            yield event_id


def _check_leaves(connection: psycopg.Connection[Any], headers: dict[int, Header], doubts: Doubts) -> None:
    query = (
        "SELECT block, string_agg(leaf, ''::bytea ORDER BY position), string_agg(int4send(position), ''::bytea ORDER BY position),"
        " bool_and(octet_length(leaf) = 32) FROM audit_leaves WHERE block BETWEEN %s AND %s GROUP BY block"
    )
    numbers = list(headers)
    with connection.cursor(binary=True) as cursor:
        for window in (numbers[start : start + _BLOCKS] for start in range(0, len(numbers), _BLOCKS)):
            proven = {
                n
                for n, leaves, positions, plausible in cursor.execute(query, [window[0], window[-1]], prepare=True)
                if plausible and n in headers and positions == _positions(headers[n].count) and _root(leaves) == headers[n].root
            }
            doubts.blocks.update(set(window) - proven)


def _check_places(connection: psycopg.Connection[Any], doubts: Doubts, problems: list[str]) -> int:
    rows = connection.execute(
        "SELECT coalesce(e.id, l.event_id)::text, l.block, e.id IN (SELECT event_id FROM audit_unsealed),"
        " abs(extract(epoch FROM clock_timestamp()) - e.at_us / 1000000.0) > %s"
        " FROM audit_events e FULL JOIN audit_leaves l ON l.event_id = e.id"
        " WHERE e.id IS NULL OR l.event_id IS NULL OR e.leaf <> l.leaf ORDER BY e.at_us, e.seq",
        [UNSEALED_SECONDS],
    )
    unsealed = 0
    for event_id, block, queued, late in rows:
        if block is not None:
            doubts.blocks.add(block)
            continue
        unsealed += 1
        if not queued:
            doubts.loose[event_id] = "inserted behind the sealer's back, or its leaf was deleted"
        elif late:
            doubts.loose[event_id] = f"it is older than {UNSEALED_SECONDS} s, so no sealer is at work"
    unknown = connection.execute("SELECT DISTINCT block FROM audit_leaves l WHERE NOT EXISTS (SELECT FROM audit_blocks WHERE n = l.block)")
    problems += [f"{_blocks_are(first, last)} not there, but leaves say so" for first, last in _ranges(sorted(n for (n,) in unknown))]
    return unsealed


def _explain(connection: psycopg.Connection[Any], proven: dict[int, Header], doubts: Doubts, problems: list[str]) -> None:
    """Name each changed event; needs only the doubtful blocks, so it may be slow."""
    where = dict(
        connection.execute("SELECT event_id::text, block FROM audit_leaves WHERE event_id::text = ANY (%s)", [list(doubts.events)])
    )
    loose = _fetch(connection, "e.id = ANY (%s::uuid[])", list(doubts.loose)[:_CANDIDATES])
    found = []
    for n in sorted(doubts.blocks | set(where.values())):
        if len(found) > MOST_NAMED:
            break
        rows = _fetch(connection, "l.block = %s", n)
        sentences, used = _judged(n, proven.get(n), rows, loose)
        found += sentences
        if used:
            del doubts.loose[used]
    found += [
        f"audit event {event_id}, not sealed yet: its text was changed after it was recorded" for event_id in doubts.events - where.keys()
    ]
    problems += _capped(found, "events")
    problems += _capped([f"audit event {event_id} is not sealed: {why}" for event_id, why in doubts.loose.items()], "events")


def _fetch(connection: psycopg.Connection[Any], condition: str, value: object) -> list[Placed]:
    with connection.cursor(row_factory=class_row(Placed)) as cursor:
        cursor.execute(
            "SELECT coalesce(l.position, -1) AS position, coalesce(l.event_id, e.id)::text AS event_id, l.leaf AS sealed,"
            f" convert_to(e.canonical, 'UTF8') AS text, e.leaf, coalesce({_STAMPED}, false) AS stamped,"
            " ARRAY[e.at_us, e.seq] AS order FROM audit_events e FULL JOIN audit_leaves l ON l.event_id = e.id"
            f" WHERE {condition} ORDER BY l.position",
            [value],
        )
        return cursor.fetchall()


def _judged(n: int, header: Header | None, rows: list[Placed], loose: list[Placed]) -> tuple[list[str], str | None]:
    """What is wrong in one block, and the unsealed event that turned out to be missing in it."""
    changed = [sentence for row in rows if (sentence := _change_of(row, n, {row.sealed for row in rows}))]
    if header is None or (_positions_of(rows) == list(range(header.count)) and _root_of([row.sealed for row in rows]) == header.root):
        return changed, None
    if len(rows) == header.count:
        return _rearranged(n, header, rows) or changed or [_UNEXPLAINED.format(n)], None
    if len(rows) > header.count:
        return _inserted(n, header, rows) or [
            *changed,
            f"block {n}: it holds {len(rows)} events, but {header.count} were sealed in it",
        ], None
    return _deleted(n, header, rows, loose, changed)


def _change_of(row: Placed, n: int, sealed: set[bytes]) -> str | None:
    name = f"audit event {row.event_id} in block {n}, position {row.position}"
    if row.text is None:
        return f"block {n} position {row.position}: event {row.event_id} is missing"
    if row.hash != row.sealed:
        moved = row.stamped and row.hash in sealed
        return f"{name}: it was put in the place of another event" if moved else f"{name}: its text was changed after it was sealed"
    if not row.stamped:
        return f"{name}: its id, order or time was changed after it was sealed"
    return f"{name}: its leaf column was changed after it was sealed" if row.leaf != row.sealed else None
