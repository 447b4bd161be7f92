"""A software authenticator: real ES256 keys, and answers as a browser gives them. Every part of an answer can be made wrong."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

ORIGIN = "http://localhost:8000"
UP, UV, AT = 0x01, 0x04, 0x40


@dataclass
class Key:
    """One key pair of the authenticator, and how often it signed."""

    rp_id: str
    handle: bytes
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    count: int = 0

    @property
    def data(self) -> bytes:
        """Attested credential data: 16 bytes of the model (none), the id and the public key."""
        cose = cbor.encode(ES256.from_cryptography_key(self.private.public_key()))  # type: ignore[no-untyped-call]
        return bytes(16) + len(self.id).to_bytes(2) + self.id + cose


@dataclass
class Authenticator:
    """Somebody's phone or security key. `counts` is how much each signature adds: synchronised passkeys count nothing."""

    counts: int = 1
    keys: dict[bytes, Key] = field(default_factory=dict)

    def create(self, options: Mapping[str, Any], *, origin: str = ORIGIN, flags: int = UP | UV, **client: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` gives for these options."""
        asked = options["publicKey"]
        key = Key(asked["rp"]["id"], decoded(asked["user"]["id"]))
        self.keys[key.id] = key
        data = _authenticator_data(key.rp_id, flags | AT, key.count) + key.data
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        collected = _client_data({"type": "webauthn.create", "challenge": asked["challenge"], "origin": origin} | client)
        return _answer(key.id, clientDataJSON=collected, attestationObject=attestation) | {"authenticatorAttachment": "platform"}

    def sign(
        self,
        options: Mapping[str, Any],
        *,
        key: Key | None = None,
        origin: str = ORIGIN,
        rp_id: str = "",
        flags: int = UP | UV,
        count: int | None = None,
        **client: Any,
    ) -> dict[str, Any]:
        """What `navigator.credentials.get` gives for these options: signed by the first key that is allowed, unless another is given."""
        asked = options["publicKey"]
        allowed = [self.keys[one] for one in (decoded(one["id"]) for one in asked["allowCredentials"]) if one in self.keys]
        key = key or allowed[0]
        key.count = key.count + self.counts if count is None else count
        data = _authenticator_data(rp_id or key.rp_id, flags, key.count)
        collected = _client_data({"type": "webauthn.get", "challenge": asked["challenge"], "origin": origin} | client)
        signature = key.private.sign(data + hashlib.sha256(collected).digest(), ec.ECDSA(hashes.SHA256()))
        return _answer(key.id, clientDataJSON=collected, authenticatorData=data, signature=signature, userHandle=key.handle)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _authenticator_data(rp_id: str, flags: int, count: int) -> bytes:
    return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + count.to_bytes(4)


def _client_data(fields: Mapping[str, Any]) -> bytes:
    return json.dumps({"crossOrigin": False} | dict(fields), separators=(",", ":")).encode()


def _answer(key: bytes, **parts: bytes) -> dict[str, Any]:
    return {
        "id": encoded(key),
        "rawId": encoded(key),
        "type": "public-key",
        "response": {name: encoded(value) for name, value in parts.items()},
        "clientExtensionResults": {},
    }
