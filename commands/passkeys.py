"""Enrolments of passkeys, pure: what a browser is asked for, and what a key must be to become somebody's (WebAuthn level 3)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from fido2.cose import RS256, CoseKey
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticatorData,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from .sites import KEYS, Site, WrongPasskey, check_frame, trimmed, understood, unreadable

REQUIRED: Final = UserVerificationRequirement.REQUIRED
_PARTS: Final = ("clientDataJSON", "attestationObject")
_RSA_BYTES: Final = 256


@dataclass(frozen=True)
class NewKey:
    """A key that a browser made: its attested credential data (section 6.5.2), and what it had counted so far."""

    data: bytes
    sign_count: int

    @property
    def credential(self) -> bytes:
        return bytes(AttestedCredentialData(self.data).credential_id)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.data)


class Held(Protocol):
    """A key that somebody has already."""

    @property
    def credential(self) -> bytes: ...


def fingerprint(data: bytes) -> str:
    """Twenty hexadecimal digits that two people can compare aloud."""
    digits = hashlib.sha256(data).hexdigest()[:20]
    return "-".join(digits[start : start + 4] for start in range(0, 20, 4))


def creation_options(site: Site, *, person: str, challenge: bytes, known: Sequence[Held]) -> dict[str, Any]:
    """What `navigator.credentials.create` is given; an authenticator that has one of this person's keys makes no second one.

    Raises WrongPasskey where our address cannot have passkeys.
    """
    if site.problem:
        raise WrongPasskey("no_site", site.problem)
    user = PublicKeyCredentialUserEntity(name=person, id=handle_of(person), display_name=person)
    options, _ = site.server.register_begin(
        user, descriptors(known), ResidentKeyRequirement.PREFERRED, user_verification=REQUIRED, challenge=challenge
    )
    return plain(options)


def challenge_in(response: Mapping[str, Any]) -> bytes:
    """The challenge that an enrolment's response says it answers; raises WrongPasskey for what is no response."""
    kept = trimmed(response, *_PARTS)
    return understood(lambda: bytes(RegistrationResponse.from_dict(kept).response.client_data.challenge))


def read_registration(site: Site, *, challenge: bytes, response: Mapping[str, Any]) -> NewKey:
    """The key in a registration response to this challenge (section 7.1); raises WrongPasskey naming what is wrong."""
    kept = trimmed(response, *_PARTS)
    check_frame(understood(lambda: RegistrationResponse.from_dict(kept)))
    server = site.server
    _, state = server.register_begin(PublicKeyCredentialUserEntity(id=b"anybody"), user_verification=REQUIRED, challenge=challenge)
    data = understood(lambda: server.register_complete(state, kept), site)
    return _checked(site, data)


def read_key(site: Site, text: str) -> NewKey:
    """The key that `written_key` wrote; raises WrongPasskey.

    A worker reads it again: an enrolment is signed by nobody, so what a door has checked proves nothing to it.
    """
    return _checked(site, understood(lambda: AuthenticatorData(_decoded(text))))


def written_key(key: NewKey, site: Site) -> str:
    """The key as one argument of a command: authenticator data (section 6.1) in base64url."""
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
    data = AuthenticatorData.create(_hash(site), flags, key.sign_count, key.data)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def handle_of(person: str) -> bytes:
    """The user handle by which an authenticator files this person's keys; it does not tell the name."""
    return hashlib.sha256(b"countersign.person/1\0" + person.encode()).digest()


def descriptors(known: Sequence[Held]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(type=PublicKeyCredentialType.PUBLIC_KEY, id=one.credential) for one in known]


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The library's options as JSON data."""
    return {name: _plain(one) for name, one in options.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain(value)
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _checked(site: Site, data: AuthenticatorData) -> NewKey:
    if data.rp_id_hash != _hash(site):
        raise WrongPasskey("wrong_rp", f"This key was made for another site than {site.rp_id}.")
    if not (data.is_user_present() and data.is_user_verified()):
        raise WrongPasskey("no_verification", "This key was made without asking for a PIN, a finger or a face; make one that asks.")
    found = data.credential_data
    if found is None or not 16 <= len(found.credential_id) <= 1_023:
        raise unreadable()
    if type(found.public_key) not in KEYS:
        raise WrongPasskey("wrong_algorithm", "This key's algorithm is not accepted here; ES256, EdDSA and RS256 are.")
    understood(lambda: _try(found.public_key))
    return NewKey(bytes(found), data.counter)


def _try(key: CoseKey) -> None:
    """A key that cannot be used is found now and not when something critical waits for it; a short one could be forged."""
    if isinstance(key, RS256) and len(key[-1].lstrip(b"\0")) < _RSA_BYTES:
        raise ValueError("a short key")
    try:
        key.verify(b"", b"")
    except InvalidSignature:
        return
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def _hash(site: Site) -> bytes:
    return hashlib.sha256(site.rp_id.encode()).digest()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
