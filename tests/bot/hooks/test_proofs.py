"""Each sender's proof, with vectors that were computed without our code: GitHub's own, and openssl's."""

import base64
import hashlib
import subprocess
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.hooks.proofs import Options, Proof, prove
from commands.triggering import Sender

NOW = 1_764_000_000.0
SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
OTHER = b"another secret that is no trigger's"
BODY = b'{"action":"published","release":{"tag_name":"v2"}}'


def openssl(key: bytes, message: bytes) -> str:
    """HMAC-SHA256 by another program."""
    made = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-r"],
        input=message,
        capture_output=True,
        check=True,
    )
    return made.stdout.split()[0].decode()


def checked(sender: Sender, headers: dict[str, str], body: bytes = BODY, *, secrets: Any = (SECRET, OTHER), **options: Any) -> Proof | None:
    raw = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return prove(sender, secrets, raw, body, now=NOW, options=Options(**options))


def test_github_publishes_a_vector() -> None:
    """docs.github.com, "Validating webhook deliveries", section "Testing the webhook payload validation"."""
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secrets = (b"It's a Secret to Everybody", OTHER)
    assert checked(Sender.github, {"X-Hub-Signature-256": f"sha256={digest}"}, b"Hello, World!", secrets=secrets)
    assert checked(Sender.github, {"X-Hub-Signature-256": digest}, b"Hello, World!", secrets=secrets) is None
    assert checked(Sender.github, {"X-Hub-Signature": f"sha1={digest}"}, b"Hello, World!", secrets=secrets) is None


def headers_of(sender: Sender, key: bytes, body: bytes, *, at: float = NOW) -> tuple[dict[str, str], dict[str, Any]]:
    """What this sender sends, and the options of its trigger."""
    stamp = str(int(at))
    match sender:
        case Sender.github:
            return {"X-Hub-Signature-256": f"sha256={openssl(key, body)}"}, {}
        case Sender.sentry:
            return {"Sentry-Hook-Signature": openssl(key, body)}, {}
        case Sender.grafana:
            signed = openssl(key, f"{stamp}:".encode() + body)
            return {"X-Grafana-Alerting-Signature": signed, "X-Time": stamp}, {"timestamp_header": b"x-time"}
        case Sender.stripe:
            return {"Stripe-Signature": f"t={stamp},v1={openssl(key, f'{stamp}.'.encode() + body)}"}, {}
        case Sender.signed:
            signed = openssl(key, f"{stamp}.".encode() + body)
            return {"X-Signature-256": f"sha256={signed}", "X-Time": stamp}, {"timestamp_header": b"x-time"}
        case _:
            return {"Authorization": f"Bearer {key.decode()}"}, {}


SIGNED = (Sender.github, Sender.sentry, Sender.grafana, Sender.stripe, Sender.signed, Sender.bearer)
TIMED = (Sender.grafana, Sender.stripe, Sender.signed)


@pytest.mark.parametrize("sender", SIGNED)
def test_a_right_proof_is_taken_and_no_other(sender: Sender) -> None:
    headers, options = headers_of(sender, SECRET, BODY)
    proof = checked(sender, headers, **options)
    assert proof is not None
    assert proof.timed is (sender in TIMED)
    assert bool(proof.signed) is (sender is not Sender.bearer)
    assert checked(sender, headers, secrets=(OTHER, SECRET), **options), "the secret before it holds, too"
    assert checked(sender, headers, secrets=(OTHER, b"x" * 20), **options) is None
    assert checked(sender, {}, **options) is None
    if sender is not Sender.bearer:
        assert checked(sender, headers, BODY + b" ", **options) is None


@pytest.mark.parametrize("sender", TIMED)
@pytest.mark.parametrize(("age", "fresh"), [(0, True), (299, True), (-299, True), (302, False), (-302, False)])
def test_a_signed_time_holds_for_five_minutes(sender: Sender, age: int, fresh: bool) -> None:
    headers, options = headers_of(sender, SECRET, BODY, at=NOW - age)
    assert (checked(sender, headers, **options) is not None) is fresh


@pytest.mark.parametrize("sender", [Sender.grafana, Sender.signed])
def test_without_a_time_the_body_alone_is_signed(sender: Sender) -> None:
    name = {Sender.grafana: "X-Grafana-Alerting-Signature", Sender.signed: "X-Signature-256"}[sender]
    assert checked(sender, {name: openssl(SECRET, BODY)})
    assert checked(sender, {"X-Gitea-Signature": openssl(SECRET, BODY)}, header=b"x-gitea-signature")


@given(st.sampled_from(SIGNED), st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_changed_signature_is_no_proof(sender: Sender, at: int, junk: bytes) -> None:
    headers, options = FIXED[sender]
    name, value = next(iter(headers.items()))
    changed = (value[: at % len(value)] + junk.hex() + value[at % len(value) + 1 :]) if at % 2 else value[: at % len(value)]
    if changed.removeprefix("sha256=") != value.removeprefix("sha256=") and changed.lower() != value.lower():
        assert checked(sender, headers | {name: changed}, **options) is None


FIXED = {sender: headers_of(sender, SECRET, BODY) for sender in SIGNED}


def test_a_certificate_counts_only_through_a_proxy_that_is_believed() -> None:
    der = b"0\x82 this stands for a certificate"
    secrets = (hashlib.sha256(der).hexdigest().encode(), OTHER)
    ours = {"Client-Cert": f":{base64.b64encode(der).decode()}:"}
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
    for headers in (ours, {"Client-Cert": quote(pem)}):
        assert checked(Sender.certificate, headers, secrets=secrets, behind_proxy=True)
        assert checked(Sender.certificate, headers, secrets=secrets) is None
        assert checked(Sender.certificate, headers, behind_proxy=True) is None
    for value in ("", "::", ":no base64:", base64.b64encode(der).decode(), "-----BEGIN CERTIFICATE-----"):
        assert checked(Sender.certificate, {"Client-Cert": value}, secrets=secrets, behind_proxy=True) is None


@pytest.mark.parametrize(
    ("body", "right"),
    [
        (b'{"routing_key":"8f742231b10e8888abcd99yyyzzz85a5","event_action":"trigger"}', True),
        (b'{ "routing_key" : "8f742231b10e8888abcd99yyyzzz85\\u0061\\u0035" }', True),
        (b'{"routing_key":"8f742231b10e8888abcd99yyyzzz85a6"}', False),
        (b'{"routing_key":"x","a":{"routing_key":"8f742231b10e8888abcd99yyyzzz85a5"}}', False),
        (b"{}", False),
        (b'{"routing_key":"\\x"}', False),
    ],
)
def test_a_routing_key_in_the_body(body: bytes, right: bool) -> None:
    assert (checked(Sender.pagerduty, {}, body) is not None) is right
