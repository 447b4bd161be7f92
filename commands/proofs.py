"""Signed decisions, pure: what a passkey signs, and whether a signature proves that its holder decided exactly this.

Checked by the door, to answer at once, and by the worker, who trusts no door and takes nothing from a row unchecked. The site comes from
the process's own settings, the challenge from what is being decided.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

from countersign.canonical import digest_of
from store.passkeys import Passkey, Use

from .passkeys import REQUIRED, Held, descriptors, handle_of, plain
from .sites import Site, WrongPasskey, check_frame, trimmed, understood


@dataclass(frozen=True)
class Signed:
    """What a decision's passkey signs: who says which verdict about which digest, for this request of this run and no other.

    `round` is how many votes this person took back on the request: a signature that was taken back never counts again.
    """

    run: UUID
    request: UUID
    revision: int
    digest: str
    verdict: str
    person: str
    round: int = 0

    @property
    def challenge(self) -> bytes:
        """SHA-256 over the canonical JSON of all of it, under a name that says what kind of thing was signed."""
        about = {"run": str(self.run), "request": str(self.request), "revision": self.revision, "round": self.round}
        said = {"digest": self.digest, "verdict": self.verdict, "person": self.person}
        return bytes.fromhex(digest_of({"countersign": "decision/1", **about, **said}))


@dataclass(frozen=True)
class Proof:
    """A signature that was checked: by which key, over which challenge, with which count."""

    key: Passkey
    challenge: bytes
    sign_count: int


def request_options(site: Site, *, challenge: bytes, known: Sequence[Held]) -> dict[str, Any]:
    """What `navigator.credentials.get` is given to sign a decision."""
    options, _ = site.server.authenticate_begin(descriptors(known), user_verification=REQUIRED, challenge=challenge)
    return plain(options)


def kept_proof(assertion: Mapping[str, Any]) -> dict[str, Any]:
    """What of an assertion is stored with a decision; raises WrongPasskey for what is no assertion."""
    return trimmed(assertion, "clientDataJSON", "authenticatorData", "signature", optional=("userHandle",))


def check_proof(site: Site, signed: Signed, assertion: Mapping[str, Any] | None, *, known: Collection[Passkey]) -> Proof:
    """The proof that this person's own, active key signed exactly this decision (section 7.2); raises WrongPasskey naming what is wrong.

    `known` are keys, anybody's and revoked ones too. What the key counted is looked at by `check_count`, which knows what came before.
    """
    if assertion is None:
        raise WrongPasskey("no_proof", "This decision has to be signed with a passkey.")
    kept = kept_proof(assertion)
    given = understood(lambda: AuthenticationResponse.from_dict(kept))
    check_frame(given)
    key = _key_of(signed.person, given, known)
    server = site.server
    _, state = server.authenticate_begin(user_verification=REQUIRED, challenge=signed.challenge)
    understood(lambda: server.authenticate_complete(state, [AttestedCredentialData(key.data)], given), site)
    return Proof(key, signed.challenge, given.response.authenticator_data.counter)


def check_count(proof: Proof, uses: Collection[Use], *, opened_at: datetime) -> None:
    """Raises WrongPasskey when what the key counted shows that it was copied (section 6.1.1).

    Runs are carried out in another order than they were signed in: only what was relied on before this request was opened has to be
    smaller, and what was signed meanwhile only different. Keys that are synchronised between devices do not count, they say 0.
    """
    key, count = proof.key, proof.sign_count
    others = [one for one in uses if one.passkey == key.id and one.challenge != proof.challenge]
    last = max([key.sign_count, *(one.sign_count for one in others if one.at <= opened_at)])
    if (count or last) and (count <= last or any(one.sign_count == count for one in others)):
        told = f"The passkey '{key.label}' of {key.person}'s counted backwards"
        raise WrongPasskey("counted_backwards", f"{told}: it may have been copied. Revoke it and enrol a new one.")


def _key_of(person: str, given: AuthenticationResponse, known: Collection[Passkey]) -> Passkey:
    key = next((one for one in known if one.credential == given.raw_id), None)
    handle = given.response.user_handle
    if key is None or key.person != person or (handle is not None and handle != handle_of(person)):
        raise WrongPasskey("foreign_passkey", f"This passkey is not one of {person}'s.")
    if key.revoked_at is not None:
        raise WrongPasskey("revoked_passkey", f"This passkey of {person}'s was revoked.")
    return key
