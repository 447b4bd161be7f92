"""The sealer: recorded events become leaves of a Merkle tree (RFC 6962), its root a signed block chained to the block before."""

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key
from sqlalchemy import select, text

from store.audits import AuditBlockRow
from store.databases import ReadSession, WriteSession

MOST_LEAVES: Final = 1_000
LOCK: Final = 4_707_032


class KeyFileError(RuntimeError):
    """The signing key cannot be used; the message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block. Digests are SHA-256, times are microseconds since 1970 by the database's clock, the first `n` is 1."""

    n: int
    prev: bytes
    root: bytes
    count: int
    first_us: int
    last_us: int
    sealed_us: int
    key_id: str
    signature: bytes = b""

    @property
    def header(self) -> bytes:
        """The bytes that are signed: one `name=value` line each, so that no value can be taken for another."""
        lines = (
            "countersign audit block 1",
            f"n={self.n}",
            f"prev={self.prev.hex()}",
            f"root={self.root.hex()}",
            f"count={self.count}",
            f"first_us={self.first_us}",
            f"last_us={self.last_us}",
            f"sealed_us={self.sealed_us}",
            f"key_id={self.key_id}",
        )
        return "\n".join(lines).encode()

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the header; the next block's `prev`."""
        return hashlib.sha256(self.header).digest()


@dataclass(frozen=True, slots=True)
class Signer:
    """An Ed25519 private key; `key_id` is the beginning of the SHA-256 of the public key."""

    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()[:16]

    @property
    def public_pem(self) -> bytes:
        """The public key in PEM, which the verifier needs."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, header: bytes) -> bytes:
        return self.key.sign(header)


def load_or_create_key(path: Path) -> Signer:
    """The signing key in this PEM file, made on first use, readable by this account only; the public key is put beside it as `.pub`.

    Two processes that start at once get the same key. Raises KeyFileError.
    """
    try:
        if not path.exists():
            _create_key(path)
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by other accounts: make a new key, or chmod 600 if nobody read it.")
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path} is not an Ed25519 private key; restore it, or move it away to get a new one.")
        signer = Signer(key)
        _publish(path.with_suffix(".pub"), signer.public_pem)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} cannot be used as the audit's signing key: {error}") from error
    return signer


async def seal(session: WriteSession, signer: Signer) -> Block | None:
    """Seal up to 1,000 events that no block holds yet, oldest first; None when there are none. Call again until None.

    Sealers wait for each other under an advisory lock that the transaction's end releases. What counts as unsealed is membership
    in a queue, never a time or number already passed, so that an event whose transaction commits late is sealed late.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    last = (await session.scalars(select(AuditBlockRow).order_by(AuditBlockRow.n.desc()).limit(1))).first()
    n = last.n + 1 if last else 1
    while (taken := (await session.execute(_TAKE, {"most": MOST_LEAVES, "block": n})).one()).fresh == 0:
        if taken.rows == 0:
            return None
    block = Block(
        n=n,
        prev=block_of(last).digest if last else bytes(32),
        root=merkle_root([taken.leaves[start : start + 32] for start in range(0, len(taken.leaves), 32)]),
        count=taken.fresh,
        first_us=taken.first_us,
        last_us=taken.last_us,
        sealed_us=taken.now_us,
        key_id=signer.key_id,
    )
    block = replace(block, signature=signer.sign(block.header))
    session.add(AuditBlockRow(**asdict(block)))
    await session.flush()
    return block


async def find_blocks(session: ReadSession, *, after: int, limit: int = MOST_LEAVES) -> list[Block]:
    """The blocks that follow block number `after`, in order."""
    rows = await session.scalars(select(AuditBlockRow).where(AuditBlockRow.n > after).order_by(AuditBlockRow.n).limit(limit))
    return [block_of(row) for row in rows]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of RFC 6962 section 2.1 over leaf hashes, of which there is at least one: SHA-256(0x01, left, right), split at the
    largest power of two below the count."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:])).digest()


# A queue row whose event is not there or already sealed can only be forged: it is taken away and seals nothing. The look-ups are
# written as subqueries of one row, because a plan made while the tables were small would read them whole for every block.
_TAKE: Final = text("""
WITH front AS MATERIALIZED (SELECT ctid FROM audit_unsealed ORDER BY at_us, seq LIMIT :most),
taken AS (DELETE FROM audit_unsealed WHERE ctid = ANY (ARRAY(SELECT ctid FROM front)) RETURNING event_id),
fresh AS (SELECT e.* FROM (SELECT DISTINCT event_id FROM taken) t
          CROSS JOIN LATERAL (SELECT id, leaf, at_us, seq FROM audit_events WHERE id = t.event_id LIMIT 1) e
          WHERE (SELECT l.block FROM audit_leaves l WHERE l.event_id = t.event_id) IS NULL),
placed AS (INSERT INTO audit_leaves (event_id, block, position, leaf)
           SELECT id, cast(:block AS bigint), row_number() OVER (ORDER BY at_us, seq) - 1, leaf FROM fresh)
SELECT (SELECT count(*) FROM taken) AS rows, count(*) AS fresh, string_agg(leaf, ''::bytea ORDER BY at_us, seq) AS leaves,
       min(at_us) AS first_us, max(at_us) AS last_us, (extract(epoch FROM countersign_now()) * 1000000)::bigint AS now_us
FROM fresh
""")


def written_block(block: Block) -> dict[str, Any]:
    """A block for a file, its bytes in hexadecimal."""
    kept = {name: getattr(block, name) for name in ("n", "count", "first_us", "last_us", "sealed_us", "key_id")}
    return kept | {"prev": block.prev.hex(), "root": block.root.hex(), "signature": block.signature.hex()}


def block_of(row: AuditBlockRow) -> Block:
    """A block as it is stored."""
    return Block(**{column.name: getattr(row, column.name) for column in fields(Block)})


def _create_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _link_new(path, pem, 0o600)


def _publish(path: Path, pem: bytes) -> None:
    if not path.exists():
        _link_new(path, pem, 0o644)
    # An operator may keep the keys of other hosts and of earlier years in the same file.
    elif pem.strip() not in path.read_bytes():
        raise KeyFileError(f"{path} does not hold the public key that belongs to {path.with_suffix('.pem').name}: put both back together.")


def _link_new(path: Path, content: bytes, mode: int) -> None:
    # A file appears whole or not at all, and the first of two processes wins.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
