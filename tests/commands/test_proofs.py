"""Signed decisions: one digest, one verdict, one request, by the person's own key, touched and verified, counting forwards."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.passkeys import creation_options, read_registration
from commands.proofs import Proof, Signed, check_count, check_proof, kept_proof, request_options
from commands.sites import Site, WrongPasskey
from store.passkeys import Passkey, Use
from tests.fakes.authenticators import UP, UV, Authenticator, encoded

SITE = Site.of("http://127.0.0.1:8000")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def enrolled(person: str, authenticator: Authenticator) -> Passkey:
    response = authenticator.create(creation_options(SITE, person=person, challenge=bytes(32), known=[]))
    new = read_registration(SITE, challenge=bytes(32), response=response)
    return Passkey(uuid4(), new.credential, new.data, person, f"{person}'s", SITE.rp_id, new.sign_count, NOW)


LINS, KIMS = Authenticator(), Authenticator()
LIN, KIM = enrolled("lin", LINS), enrolled("kim", KIMS)
KNOWN = (LIN, KIM)
SIGNED = Signed(uuid4(), uuid4(), 1, "d" * 64, "approve", "lin")


def signed(what: Signed = SIGNED, by: Authenticator = LINS, **wrong: Any) -> dict[str, Any]:
    known = [LIN] if by is LINS else [KIM]
    return by.sign(request_options(SITE, challenge=what.challenge, known=known), **wrong)


def reason(assertion: dict[str, Any] | None, what: Signed = SIGNED, known: tuple[Passkey, ...] = KNOWN) -> str:
    with pytest.raises(WrongPasskey) as caught:
        check_proof(SITE, what, assertion, known=known)
    assert str(caught.value).endswith(".")
    return caught.value.reason


def test_lins_signature_proves_lins_decision() -> None:
    proof = check_proof(SITE, SIGNED, signed(), known=KNOWN)
    assert (proof.key, proof.challenge) == (LIN, SIGNED.challenge)
    assert proof.sign_count == LINS.keys[LIN.credential].count


def test_what_is_stored_proves_it_again_and_holds_nothing_else() -> None:
    kept = kept_proof(signed() | {"more": "x" * 9_000, "authenticatorAttachment": "platform"})
    assert set(kept) == {"id", "rawId", "type", "response"}
    assert check_proof(SITE, SIGNED, kept, known=KNOWN).key == LIN


@pytest.mark.parametrize(
    "other",
    [
        replace(SIGNED, verdict="deny"),
        replace(SIGNED, digest="e" * 64),
        replace(SIGNED, revision=2),
        replace(SIGNED, run=uuid4()),
        replace(SIGNED, request=uuid4()),
        replace(SIGNED, round=1),
    ],
)
def test_a_signature_proves_nothing_else(other: Signed) -> None:
    assert reason(signed(), other) == "wrong_challenge"
    assert reason(signed(other)) == "wrong_challenge"


def test_nobody_signs_for_somebody_else() -> None:
    assert reason(signed(), replace(SIGNED, person="kim")) == "foreign_passkey"
    swapped = signed() | {"id": encoded(KIM.credential), "rawId": encoded(KIM.credential)}
    assert reason(swapped) == "foreign_passkey"
    assert reason(signed(by=KIMS) | {"id": encoded(LIN.credential), "rawId": encoded(LIN.credential)}) == "foreign_passkey"


def test_another_keys_signature_under_lins_name_is_no_signature() -> None:
    theirs = signed(by=KIMS)
    theirs["response"].pop("userHandle")
    assert reason(theirs | {"id": encoded(LIN.credential), "rawId": encoded(LIN.credential)}) == "bad_signature"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"origin": "https://evil.example"}, "wrong_origin"),
        ({"rp_id": "evil.example"}, "wrong_rp"),
        ({"flags": UV}, "no_presence"),
        ({"flags": UP}, "no_verification"),
        ({"type": "webauthn.create"}, "wrong_kind"),
        ({"crossOrigin": True}, "wrong_origin"),
        ({"challenge": encoded(bytes(32))}, "wrong_challenge"),
    ],
)
def test_what_was_signed_wrongly_does_not_count(wrong: dict[str, Any], why: str) -> None:
    assert reason(signed(**wrong)) == why


def test_without_a_signature_or_with_a_revoked_or_unknown_key_there_is_no_proof() -> None:
    assert reason(None) == "no_proof"
    assert reason({}) == "unreadable"
    assert reason(signed(), known=(replace(LIN, revoked_at=NOW),)) == "revoked_passkey"
    assert reason(signed(), known=()) == "foreign_passkey"


@given(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]), st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_leaves_a_proof(part: str, place: int, change: int) -> None:
    text = bytearray(ASSERTION["response"][part].encode())
    place %= len(text) - 1  # the bits that base64 leaves over at the very end mean nothing
    text[place] = ord("A") + (text[place] + change) % 26
    changed = {**ASSERTION, "response": ASSERTION["response"] | {part: text.decode()}}
    if changed != ASSERTION:
        assert reason(changed)


ASSERTION = signed()


def proof(count: int, key: Passkey = LIN) -> Proof:
    return Proof(key, b"this", count)


def used(count: int, *, ago: int, challenge: bytes = b"other") -> Use:
    return Use(LIN.id, challenge, count, NOW - timedelta(minutes=ago))


@pytest.mark.parametrize(
    ("count", "uses", "fine"),
    [
        (0, [], True),
        (0, [used(0, ago=9)], True),
        (5, [], True),
        (5, [used(4, ago=9)], True),
        (5, [used(5, ago=9)], False),
        (4, [used(5, ago=9)], False),
        (0, [used(5, ago=9)], False),
        (4, [used(5, ago=-1)], True),
        (5, [used(5, ago=-1)], False),
        (5, [used(5, ago=-1, challenge=b"this")], True),
    ],
)
def test_a_copied_key_counts_backwards_sooner_or_later(count: int, uses: list[Use], fine: bool) -> None:
    if fine:
        check_count(proof(count), uses, opened_at=NOW)
        return
    with pytest.raises(WrongPasskey, match="The passkey 'lin's' of lin's counted backwards: it may have been copied"):
        check_count(proof(count), uses, opened_at=NOW)


def test_a_key_that_counted_when_it_was_enrolled_goes_on_from_there() -> None:
    key = replace(LIN, sign_count=7)
    with pytest.raises(WrongPasskey):
        check_count(proof(7, key), [], opened_at=NOW)
    check_count(proof(8, key), [], opened_at=NOW)
