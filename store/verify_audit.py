"""Prove that nobody changed the audit, or name what was changed. A program of its own that shares no code with the writer.

    python store/verify_audit.py --database postgresql://… --anchors anchors.jsonl --public-key audit-key.pub [--json]

It needs Python, psycopg, cryptography, verify_audit.sql beside it, and SELECT on the four audit tables. What the record promises, and this
recomputes:

- an event's leaf is SHA-256(0x00, its text in UTF-8), and its text begins with its id and time;
- its text ends with SHA-256(0x02, salt, payload); both are gone only where a run that may, or the end of their time, erased them;
- a block's root is the Merkle tree of RFC 6962 over its leaves by position, and its header is signed with Ed25519;
- each block's `prev` is the SHA-256 of the header before it, from block 1 on, and each block is in the anchor file outside Postgres.
"""

import argparse
import hashlib
import json
import re
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from psycopg.rows import class_row

Connection = psycopg.Connection[tuple[Any, ...]]
Keys = dict[str, Ed25519PublicKey]
Anchors = dict[int, tuple[object, ...]]

ERASING: Final = ["people erase"]
UNSEALED_SECONDS: Final = 10
UNANCHORED_SECONDS: Final = 60
MOST_NAMED: Final = 100

# Names are looked up in the catalog first, so that nobody can put a function of his own in place of one that is used here.
_OPTIONS: Final = (
    r"-c default_transaction_isolation=repeatable\ read -c default_transaction_read_only=on -c search_path=pg_catalog,public"
    " -c statement_timeout=0 -c work_mem=64MB -c jit=off -c max_parallel_workers_per_gather=0"
)
_SQL: Final = Path(__file__).with_suffix(".sql").read_bytes()
# Each stands under a line `--: name`.
_QUERIES: Final = dict(re.findall(rb"^--: (\w+)\n(.*?)(?=^--: |\Z)", _SQL, re.MULTILINE | re.DOTALL))


class NotVerifiable(Exception):
    """The verification could not be made; the message is one sentence."""


@dataclass
class Report:
    """What was verified and what is wrong; `problems` are sentences, the earliest block first, and empty when all is well.

    `erased` are sentences about payloads that were erased as the record says.
    """

    rows: int = 0
    blocks: int = 0
    unsealed: int = 0
    erased: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Header:
    """A row of audit_blocks: what is signed, what the next block's `prev` and the anchor file must say; `old` when it must be there."""

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

    @property
    def signed(self) -> bytes:
        return (
            f"countersign audit block 1\nn={self.n}\nprev={self.prev.hex()}\nroot={self.root.hex()}\ncount={self.count}\n"
            f"first_us={self.first_us}\nlast_us={self.last_us}\nsealed_us={self.sealed_us}\nkey_id={self.key_id}"
        ).encode()

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.signed).digest()

    @cached_property
    def anchor(self) -> tuple[object, ...]:
        return (self.count, self.root.hex(), self.prev.hex(), self.digest.hex(), self.signature.hex())


@dataclass(frozen=True)
class _Placed:
    """An event and its leaf, either of which may be gone; `hash` is the leaf as the text gives it now."""

    id: str
    block: int | None
    position: int
    sealed: bytes
    text: bytes | None
    leaf: bytes | None
    time: list[int]
    queued: bool
    late: bool

    @cached_property
    def hash(self) -> bytes:
        return b"" if self.text is None else hashlib.sha256(b"\0" + self.text).digest()

    @property
    def stamped(self) -> bool:
        return self.text is not None and self.text[:44] == b'{"id":"' + self.id.encode() + b'"'

    @property
    def name(self) -> str:
        return f"audit event {self.id}" + (f" in block {self.block}, position {self.position}" if self.block is not None else "")


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
    counts = f"{report.rows:,} events in {report.blocks:,} blocks, {report.unsealed:,} not sealed yet"
    plain = "\n".join([*(report.problems or ["nothing was changed"]), *report.erased, counts])
    sys.stdout.write((json.dumps(asdict(report) | {"ok": not report.problems}) if given.json else plain) + "\n")
    return 1 if report.problems else 0


def verify(dsn: str, *, anchor_path: Path, public_key_path: Path) -> Report:
    """Recompute the whole record in one snapshot of the database. Raises NotVerifiable when something cannot be read."""
    keys, report = _read_keys(public_key_path), Report()
    # Before the snapshot, so that no block can be anchored and yet too new for it.
    anchors = _read_anchors(anchor_path, report.problems)
    try:
        with _connect(dsn) as first, _connect(dsn) as second:
            second.execute(b"SET TRANSACTION SNAPSHOT '%s'" % next(first.execute("SELECT pg_export_snapshot()"))[0].encode())
            report.problems += [sentence for (sentence,) in first.execute(_QUERIES[b"odd"])]
            cursor = first.cursor(row_factory=class_row(_Header))
            headers = {header.n: header for header in cursor.execute(_QUERIES[b"headers"], [UNANCHORED_SECONDS])}
            report.blocks = len(headers)
            proven = _proven(headers, keys, anchors)
            report.problems += _check_headers(headers, proven, keys, anchors)
            blocks, ids, faded = set(headers), set[bytes](), list[UUID]()
            report.rows = _check_rows(_hashed(first, ids, faded), _sealed(second, headers, blocks), ids)
            report.problems += [f"block {n} is missing although leaves name it" for n in sorted(blocks - headers.keys())]
            report.unsealed = _explain(first, proven, blocks, ids, report.problems)
            _check_payloads(first, faded, report)
    except psycopg.Error as error:
        raise NotVerifiable(f"The audit could not be read from the database: {str(error).strip()}") from error
    if (more := len(report.problems) - MOST_NAMED) > 0:
        report.problems[MOST_NAMED:] = [f"and {more} more"]
    return report


def _read_keys(path: Path) -> Keys:
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


def _read_anchors(path: Path, problems: list[str]) -> Anchors:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise NotVerifiable(f"The anchor file {path} cannot be read: {error}") from error
    anchors: Anchors = {}
    for place, (line, following) in enumerate(pairwise(lines), start=1):
        try:
            found = json.loads(line)
            n, said = int(found["n"]), tuple(found[name] for name in ("count", "root", "prev", "digest", "signature"))
        except (ValueError, TypeError, KeyError):
            # A crash tears a line; then the sealer writes the same line again, whole, after it.
            if not following.startswith(line):
                problems.append(f"line {place} of the anchor file is damaged")
            continue
        if anchors.setdefault(n, said) != said:
            problems.append(f"line {place} of the anchor file holds another block {n} than an earlier line")
    return anchors


def _connect(dsn: str) -> Connection:
    return psycopg.connect(dsn.replace("postgresql+psycopg://", "postgresql://", 1), options=_OPTIONS)


def _proven(headers: dict[int, _Header], keys: Keys, anchors: Anchors) -> dict[int, _Header]:
    # A header holds the digest of the one before, so a proven block proves the one before as well, if its signature is as anchored.
    proven: dict[int, _Header] = {}
    for n, header in reversed(headers.items()):
        settled = n + 1 in proven and proven[n + 1].prev == header.digest and anchors.get(n) == header.anchor
        with suppress(KeyError, InvalidSignature):
            if not settled:
                keys[header.key_id].verify(header.signature, header.signed)
            proven[n] = header
    return proven


def _check_headers(headers: dict[int, _Header], proven: dict[int, _Header], keys: Keys, anchors: Anchors) -> Iterator[str]:
    for n, header in headers.items():
        before, following, anchor = proven.get(n - 1), headers.get(n + 1), anchors.get(n)
        if n not in proven:
            intact = (following and following.prev == header.digest) or (anchor and anchor[:4] == header.anchor[:4])
            unknown = "" if header.key_id in keys else f" (the key {header.key_id} is not in the public key file)"
            yield f"block {n}: its {'signature was replaced' if intact else 'header was changed after it was signed'}{unknown}"
        elif n == 1 and header.prev != bytes(32):
            yield "block 1: it follows another block, so it was not the first"
        elif before and header.prev != before.digest:
            yield f"block {n}: it does not follow block {n - 1}, so one of them was replaced"
        elif anchor and anchor != header.anchor:
            yield f"block {n}: it is not the block that was anchored"
    edges = [0, *headers, max([0, *headers, *anchors]) + 1]
    for first, last in [(low + 1, high - 1) for low, high in pairwise(edges) if high - low > 1]:
        which = f"block {first} is" if first == last else f"blocks {first} to {last} are"
        yield f"{which} {'in the anchor file but not in the database' if first in anchors or last in anchors else 'missing'}"
    if unanchored := [n for n, header in headers.items() if header.old and n not in anchors]:
        yield f"{len(unanchored):,} blocks, the first is block {unanchored[0]}, are not in the anchor file"


def _sealed(connection: Connection, headers: dict[int, _Header], doubtful: set[int]) -> Iterator[tuple[bytes, bytes]]:
    with connection.cursor(binary=True) as cursor:
        for n, leaves, keys, positions, plausible in cursor.stream(_QUERIES[b"leaves"], size=4):
            whole = plausible and n in headers and positions == struct.pack(f">{headers[n].count}i", *range(headers[n].count))
            (doubtful.discard if whole and _root(leaves) == headers[n].root else doubtful.add)(n)
            yield leaves or b"", keys


def _hashed(connection: Connection, doubtful: set[bytes], faded: list[UUID]) -> Iterator[tuple[bytes, bytes]]:
    with connection.cursor(binary=True) as cursor:
        for texts, stored, ids, plausible, payloads in cursor.stream(_QUERIES[b"events"], size=4):
            hashes = b"".join([hashlib.sha256(b"\0" + text.encode()).digest() for text in texts or ()])
            if texts and (not plausible or hashes != stored or "".join([text[7:43] for text in texts]).replace("-", "") != ids.hex()):
                doubtful.update(ids[start : start + 16] for start in range(0, len(ids), 16))
            if texts and "".join([text[-66:-2] for text in texts]) != payloads:
                faded += [
                    UUID(bytes=ids[16 * n : 16 * n + 16]) for n, text in enumerate(texts) if _is_faded(text, payloads[64 * n : 64 * n + 64])
                ]
            yield hashes, ids or b""


def _is_faded(text: str, payload: str) -> bool:
    # Zeros are no payload, and the first events of old databases had none.
    return text[-66:-2] != payload and (text[-77:-66] == '"payload":"' or payload != "0" * 64)


def _check_payloads(connection: Connection, faded: list[UUID], report: Report) -> None:
    told: dict[str, int] = {}
    for block, position, key, gone, erased in connection.execute(_QUERIES[b"faded"], [ERASING, faded]) if faded else ():
        if erased:
            told[erased] = told.get(erased, 0) + 1
        elif not any(key in problem for problem in report.problems):
            how = "is gone, and nothing in the record erased it" if gone else "was changed after it was recorded"
            report.problems.append(f"audit event {key} in block {block}, position {position}: its payload {how}")
    report.erased = [f"{count:,} {'payload was' if count == 1 else 'payloads were'} erased on {what}" for what, count in told.items()]


def _check_rows(hashed: Iterator[tuple[bytes, bytes]], sealed: Iterator[tuple[bytes, bytes]], doubtful: set[bytes]) -> int:
    """Pair each event with its leaf; returns how many events there are, and notes the ids of those without a partner."""
    # Both come nearly in the same order, so whole blocks compare equal at once. Events first: the database then reads both meanwhile.
    hashes, ids = next(hashed, (b"", b""))
    rows = len(ids) // 16
    unpaired: set[bytes] = set()
    for leaves, sealed_ids in sealed:
        while len(ids) < len(sealed_ids) and (more := next(hashed, None)):
            hashes, ids = hashes + more[0], ids + more[1]
            rows += len(more[1]) // 16
        end = len(sealed_ids)
        if ids[:end] != sealed_ids or hashes[: 2 * end] != leaves:
            unpaired ^= _pairs(hashes, ids[:end]) ^ _pairs(leaves, sealed_ids)
        hashes, ids = hashes[2 * end :], ids[end:]
    unpaired ^= _pairs(hashes, ids)
    for hashes, ids in hashed:
        unpaired ^= _pairs(hashes, ids)
        rows += len(ids) // 16
    doubtful.update(pair[-16:] for pair in unpaired)
    return rows


def _pairs(hashes: bytes, ids: bytes) -> set[bytes]:
    return {hashes[2 * start : 2 * start + 32] + ids[start : start + 16] for start in range(0, len(ids), 16)}


def _explain(connection: Connection, proven: dict[int, _Header], blocks: set[int], ids: set[bytes], problems: list[str]) -> int:
    doubtful = _fetch(connection, [UUID(bytes=key) for key in ids if len(key) == 16]) if ids else []
    blocks |= {row.block for row in doubtful if row.block is not None and _change_of(row, set())}
    loose = [row for row in doubtful if row.block is None and row.text is not None]
    strays, named = [row for row in loose if not row.queued], ""
    for n in sorted(blocks):
        members = connection.execute("SELECT event_id FROM audit_leaves WHERE block = %s", [n])
        found = _judged(n, proven.get(n), _fetch(connection, [event_id for (event_id,) in members]), strays)
        problems += found
        named += " ".join(found)
        if len(problems) > MOST_NAMED:
            break
    for row in loose:
        if row.hash != row.leaf or not row.stamped:
            problems.append(f"{row.name}, not sealed yet: its text was changed after it was recorded")
        elif not row.queued and row.id not in named:
            problems.append(f"{row.name} is not sealed: it was inserted behind the sealer's back, or its leaf was deleted")
        elif row.queued and row.late:
            problems.append(f"{row.name} is not sealed: it is older than {UNSEALED_SECONDS} s, so no sealer is at work")
    return len(loose)


def _fetch(connection: Connection, ids: list[UUID]) -> list[_Placed]:
    with connection.cursor(row_factory=class_row(_Placed)) as cursor:
        return cursor.execute(_QUERIES[b"placed"], [UNSEALED_SECONDS, ids]).fetchall()


def _judged(n: int, header: _Header | None, rows: list[_Placed], loose: list[_Placed]) -> list[str]:
    """What is wrong in one block; `header` is None when it is not there or not proven, `loose` are events that no block holds."""
    sealed = {row.sealed for row in rows}
    changed = [sentence for row in rows if (sentence := _change_of(row, sealed))]
    if header is None:
        return changed
    gaps = sorted(set(range(header.count)) - {row.position for row in rows})
    if not gaps and _gives(header, rows):
        return changed
    if not gaps and _gives(header, [replace(row, sealed=row.hash) for row in rows]):
        return [f"{row.name}: its sealed leaf was changed" for row in rows if row.hash != row.sealed]
    restored = _restored(header, rows, loose, gaps[:1])
    found = [*changed, *(restored or [f"block {n} position {gap}: the event and its leaf are missing" for gap in gaps])]
    return found or [f"block {n}: its {len(rows)} events do not add up to the root that was signed for {header.count}"]


def _change_of(row: _Placed, sealed: set[bytes]) -> str | None:
    if row.text is None:
        return f"block {row.block} position {row.position}: event {row.id} is missing"
    if row.hash != row.sealed:
        moved = row.stamped and row.hash in sealed
        return f"{row.name}: {'it was put in the place of another event' if moved else 'its text was changed after it was sealed'}"
    if not row.stamped:
        return f"{row.name}: its id was changed after it was sealed"
    return f"{row.name}: its leaf column was changed after it was sealed" if row.leaf != row.sealed else None


def _restored(header: _Header, rows: list[_Placed], loose: list[_Placed], gap: list[int]) -> list[str]:
    # What gives the signed root again: the order of time, one event less, or one of the loose events more?
    by_time = sorted((row for row in rows if row.text is not None), key=lambda row: row.time)
    if _gives(header, by_time):
        moved = [(place, row) for place, row in enumerate(by_time) if place != row.position]
        return [f"{row.name}: it was moved there from position {place} after it was sealed" for place, row in moved]
    for extra in rows if len(rows) == header.count + 1 else ():
        if any(_gives(header, [row for row in order if row is not extra]) for order in (rows, by_time)):
            return [f"{extra.name}: it was inserted after the block was sealed"]
    for lost in loose if len(rows) == header.count - 1 else ():
        place = gap[0] if gap else sum(row.time < lost.time for row in rows)
        if _gives(header, [*rows[:place], replace(lost, sealed=lost.hash), *rows[place:]]):
            return [f"{lost.name} in block {header.n}, position {place}: its leaf was deleted"]
    return []


def _gives(header: _Header, rows: list[_Placed]) -> bool:
    return len(rows) == header.count and _root(b"".join(row.sealed for row in rows)) == header.root


def _root(leaves: bytes) -> bytes:
    # Pair by pair, a last odd node going up as it is: the same tree as RFC 6962's split at the largest power of two.
    while len(leaves) > 32 and len(leaves) % 32 == 0:
        paired = len(leaves) & ~63
        nodes = [hashlib.sha256(b"\1" + pair).digest() for (pair,) in struct.iter_unpack("64s", leaves[:paired])]
        leaves = b"".join(nodes) + leaves[paired:]
    return leaves


if __name__ == "__main__":
    sys.exit(main())
