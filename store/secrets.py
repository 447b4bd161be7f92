"""Sealed secrets: any process may seal, only a worker's private key opens. A secret is known by its mark, a keyed digest."""

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from nacl.public import Box, PrivateKey, PublicKey
from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from countersign.arguments import Secret
from countersign.schemas import SECRET_KEY

from .bases import Base
from .databases import ReadSession, WriteSession

SENDER_SECONDS: Final = 600.0
MOST_SENDERS: Final = 16


class SecretRow(Base):
    __tablename__ = "secrets"

    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    mark: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]


class Sealer:
    """Seals to the workers' public key and marks with a key of its own, so that equal secrets give equal digests and nothing more.

    A fresh key pair serves for ten minutes and is then forgotten: making one for each secret (a libsodium sealed box) costs a door
    85 µs a request, the box alone 6 µs. What was sealed is its public key, then nonce and ciphertext of a libsodium box.
    """

    def __init__(self, public_key: PublicKey, mark_key: bytes) -> None:
        self.public_key, self.mark_key = public_key, mark_key
        self._made = 0.0
        self._sender, self._box = b"", Box(PrivateKey.generate(), public_key)

    def seal(self, value: str) -> bytes:
        now = time.monotonic()
        if not self._sender or now - self._made > SENDER_SECONDS:
            sender = PrivateKey.generate()
            self._made, self._sender, self._box = now, bytes(sender.public_key), Box(sender, self.public_key)
        return self._sender + bytes(self._box.encrypt(value.encode()))

    def mark(self, value: str) -> str:
        """HMAC-SHA256 under a key outside the database, as 64 hexadecimal digits."""
        return hmac.new(self.mark_key, value.encode(), hashlib.sha256).hexdigest()

    def taken_out(self, data: Any, found: dict[str, bytes]) -> Any:
        """JSON data with every Secret replaced by its mark; the sealed values are added to `found` by mark."""
        if isinstance(data, Secret):
            mark = self.mark(data.reveal())
            found[mark] = self.seal(data.reveal())
            return {SECRET_KEY: mark}
        if isinstance(data, Mapping):
            return {name: self.taken_out(one, found) for name, one in data.items()}
        if isinstance(data, list | tuple):
            return [self.taken_out(one, found) for one in data]
        return data


class Opener:
    """The workers' private key. A sender's key serves many secrets, so the work that depends on it alone is kept for the last few."""

    def __init__(self, private_key: PrivateKey) -> None:
        self.private_key = private_key
        self._box = lru_cache(maxsize=MOST_SENDERS)(self._shared)

    def open(self, sealed: bytes) -> str:
        """Raises CryptoError when it was not sealed to this key or was changed since."""
        sealed = bytes(sealed)
        return self._box(sealed[: PublicKey.SIZE]).decrypt(sealed[PublicKey.SIZE :]).decode()

    def _shared(self, sender: bytes) -> Box:
        return Box(self.private_key, PublicKey(sender))


@dataclass(frozen=True)
class Keys:
    """The key files under DATA_DIR: `seal.public` for everybody, `seal.private` for workers, `mark` for both; made on first start.

    `hooks.private` opens the secrets of triggers, which the web needs to check who delivers; workers seal them with `hooks.public`.
    """

    folder: Path

    @classmethod
    def prepared(cls, folder: Path) -> Self:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = cls(folder)
        if not (folder / "seal.private").exists():
            private = PrivateKey.generate()
            _keep(folder / "seal.private", bytes(private))
            _keep(folder / "seal.public", bytes(private.public_key))
            _keep(folder / "mark", bytes(PrivateKey.generate()))
        if not (folder / "hooks.private").exists():
            private = PrivateKey.generate()
            _keep(folder / "hooks.private", bytes(private))
            _keep(folder / "hooks.public", bytes(private.public_key))
        return keys

    def sealer(self) -> Sealer:
        return Sealer(PublicKey((self.folder / "seal.public").read_bytes()), (self.folder / "mark").read_bytes())

    def opener(self) -> Opener:
        return Opener(PrivateKey((self.folder / "seal.private").read_bytes()))

    def hook_sealer(self) -> Sealer:
        """Seals the secrets of triggers."""
        return Sealer(PublicKey((self.folder / "hooks.public").read_bytes()), (self.folder / "mark").read_bytes())

    def hook_opener(self) -> Opener:
        """Opens the secrets of triggers, and no others."""
        return Opener(PrivateKey((self.folder / "hooks.private").read_bytes()))


async def keep_secrets(session: WriteSession, run: UUID, found: Mapping[str, bytes]) -> None:
    """Keeps sealed secrets by mark, those that planners, steps and edits made; what is kept already stays."""
    for mark, sealed in found.items():
        await session.execute(
            text("INSERT INTO secrets (run_id, mark, sealed) VALUES (:run, :mark, :sealed) ON CONFLICT DO NOTHING"),
            {"run": run, "mark": mark, "sealed": sealed},
        )


async def find_secrets(session: ReadSession, run: UUID, opener: Opener) -> dict[str, str]:
    """The run's secrets by mark, opened; only workers can."""
    rows = await session.execute(text("SELECT mark, sealed FROM secrets WHERE run_id = :run"), {"run": run})
    return {row.mark: opener.open(bytes(row.sealed)) for row in rows}


def put_back(data: Any, secrets: Mapping[str, str]) -> Any:
    """JSON data with every mark replaced by its Secret."""
    if isinstance(data, Mapping):
        if set(data) == {SECRET_KEY}:
            return Secret(secrets[data[SECRET_KEY]])
        return {name: put_back(one, secrets) for name, one in data.items()}
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [put_back(one, secrets) for one in data]
    return data


def _keep(path: Path, value: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(value)
