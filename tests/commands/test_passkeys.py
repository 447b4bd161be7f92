"""Keys that browsers make: what is taken, what is refused and why, and the same key read again by the worker."""

from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fido2 import cbor
from fido2.cose import RS256
from hypothesis import given
from hypothesis import strategies as st

from commands.passkeys import challenge_in, creation_options, fingerprint, handle_of, read_key, read_registration, written_key
from commands.sites import Site, WrongPasskey
from tests.fakes.authenticators import AT, ORIGIN, UP, UV, Authenticator, Key, decoded, encoded

SITE = Site.of("http://127.0.0.1:8000")
CHALLENGE = bytes(range(32))


def made(**wrong: Any) -> dict[str, Any]:
    options = creation_options(SITE, person="lin", challenge=CHALLENGE, known=[])
    return Authenticator().create(options, **wrong)


def refusal(response: dict[str, Any], challenge: bytes = CHALLENGE) -> str:
    with pytest.raises(WrongPasskey) as caught:
        read_registration(SITE, challenge=challenge, response=response)
    return caught.value.reason


def test_lin_enrols_a_key_that_the_worker_reads_as_the_door_did() -> None:
    authenticator = Authenticator()
    response = authenticator.create(creation_options(SITE, person="lin", challenge=CHALLENGE, known=[]))
    [key] = authenticator.keys.values()
    assert challenge_in(response) == CHALLENGE
    new = read_registration(SITE, challenge=CHALLENGE, response=response)
    assert (new.data, new.credential, new.sign_count) == (key.data, key.id, 0)
    assert read_key(SITE, written_key(new, SITE)) == new
    assert new.fingerprint == fingerprint(key.data)
    assert key.handle == handle_of("lin") != handle_of("kim")


def test_a_second_key_is_not_made_on_the_same_authenticator() -> None:
    first = Key("localhost", b"")
    options = creation_options(SITE, person="lin", challenge=CHALLENGE, known=[Known(first.id)])
    assert [one["id"] for one in options["publicKey"]["excludeCredentials"]] == [encoded(first.id)]
    assert options["publicKey"]["authenticatorSelection"]["userVerification"] == "required"


class Known:
    def __init__(self, credential: bytes) -> None:
        self.credential = credential


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"origin": "https://evil.example"}, "wrong_origin"),
        ({"origin": "http://localhost:8001"}, "wrong_origin"),
        ({"type": "webauthn.get"}, "wrong_kind"),
        ({"challenge": encoded(bytes(32))}, "wrong_challenge"),
        ({"crossOrigin": True}, "wrong_origin"),
        ({"flags": UP}, "no_verification"),
        ({"flags": UV}, "no_presence"),
    ],
)
def test_what_was_made_wrongly_is_refused_with_its_reason(wrong: dict[str, Any], reason: str) -> None:
    assert refusal(made(**wrong)) == reason


def test_a_key_for_another_site_is_refused_by_door_and_worker() -> None:
    other = Site.of("https://countersign.example")
    response = Authenticator().create(creation_options(other, person="lin", challenge=CHALLENGE, known=[]), origin=other.origins[0])
    new = read_registration(other, challenge=CHALLENGE, response=response)
    assert refusal(response) == "wrong_origin"
    with pytest.raises(WrongPasskey, match="made for another site than localhost"):
        read_key(SITE, written_key(new, other))


@pytest.mark.parametrize("response", [{}, {"response": 1}, {"id": "a", "response": {}}, {"rawId": 3, "response": {"clientDataJSON": "a"}}])
def test_what_is_no_answer_of_a_browser_is_said_to_be_none(response: dict[str, Any]) -> None:
    assert refusal(response) == "unreadable"


def test_an_id_that_is_not_the_keys_own_is_refused() -> None:
    assert refusal(made() | {"id": encoded(b"other")}) == "unreadable"


def key_text(cose: dict[int, Any], *, flags: int = UP | UV | AT, name: bytes = bytes(16)) -> str:
    from_site = written_key(read_registration(SITE, challenge=CHALLENGE, response=made()), SITE)
    head = bytearray(decoded(from_site)[:37])
    head[32] = flags
    return encoded(bytes(head) + bytes(16) + len(name).to_bytes(2) + name + cbor.encode(cose))


def rsa_key(bits: int) -> dict[int, Any]:
    return dict(RS256.from_cryptography_key(rsa.generate_private_key(65_537, bits).public_key()))  # type: ignore[no-untyped-call]


GOOD = {1: 2, 3: -7, -1: 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (key_text(rsa_key(1_024)), "unreadable"),
        (key_text({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)}), "unreadable"),
        (key_text({1: 2, 3: -7}), "unreadable"),
        (key_text({1: 2, 3: -35, -1: 2, -2: bytes(48), -3: bytes(48)}), "wrong_algorithm"),
        (key_text({1: 2, 3: 99}), "wrong_algorithm"),
        (key_text(rsa_key(2_048), name=b"short"), "unreadable"),
        (key_text(rsa_key(2_048), flags=UP | AT), "no_verification"),
        ("", "unreadable"),
        ("not base64!", "unreadable"),
        ("AAAA", "unreadable"),
    ],
)
def test_a_key_that_nobody_could_or_should_use_is_found_at_once(text: str, reason: str) -> None:
    with pytest.raises(WrongPasskey) as caught:
        read_key(SITE, text)
    assert caught.value.reason == reason


def test_a_long_rsa_key_is_taken() -> None:
    assert read_key(SITE, key_text(rsa_key(2_048))).credential == bytes(16)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_key_or_a_sentence(data: bytes) -> None:
    with suppress(WrongPasskey):
        read_key(SITE, encoded(data))


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_never_more_than_a_sentence(place: int, value: int) -> None:
    text = written_key(read_registration(SITE, challenge=CHALLENGE, response=RESPONSE), SITE)
    data = bytearray(decoded(text))
    data[place % len(data)] = value
    with suppress(WrongPasskey):
        read_key(SITE, encoded(bytes(data)))


RESPONSE = made()


@pytest.mark.parametrize(
    ("address", "rp_id", "origins", "usable"),
    [
        ("http://127.0.0.1:8000", "localhost", ("http://127.0.0.1:8000", "http://localhost:8000"), True),
        ("http://localhost:9", "localhost", ("http://localhost:9",), True),
        ("https://ops.example.test", "ops.example.test", ("https://ops.example.test",), True),
        ("https://ops.example.test:8443", "ops.example.test", ("https://ops.example.test:8443",), True),
        ("http://ops.example.test", "ops.example.test", ("http://ops.example.test",), False),
        ("https://10.0.0.7", "10.0.0.7", ("https://10.0.0.7",), False),
    ],
)
def test_where_passkeys_can_be(address: str, rp_id: str, origins: tuple[str, ...], usable: bool) -> None:
    site = Site.of(address)
    assert (site.rp_id, site.origins, not site.problem) == (rp_id, origins, usable)
    if not usable:
        with pytest.raises(WrongPasskey, match="COUNTERSIGN_PUBLIC_URL"):
            creation_options(site, person="lin", challenge=CHALLENGE, known=[])


def test_the_origin_of_the_story_is_ours() -> None:
    assert ORIGIN in SITE.origins
