"""How a delivery proves who sent it. Every way costs the same, whether the proof is right, wrong, or of no trigger at all.

Sources: GitHub, docs.github.com "Validating webhook deliveries"; Sentry, docs.sentry.io "Webhooks" of the integration platform; Grafana,
the webhook contact point's HMAC signature; Stripe, docs.stripe.com "Resolve webhook signature verification errors"; certificates, RFC 9440;
PagerDuty, developer.pagerduty.com "Events API v2", whose routing key stands in the body.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from commands.triggering import Sender

WINDOW_SECONDS: Final = 300
LONGEST_SECRET: Final = 512
_ROUTING_KEY: Final = re.compile(rb'"routing_key"\s*:\s*("(?:[^"\\]|\\.){1,512}")')
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*\Z")
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True)
class Options:
    """What a sender leaves open: which headers carry signature and time, and whether the caller is a proxy that we believe."""

    header: bytes = b""
    timestamp_header: bytes = b""
    behind_proxy: bool = False


@dataclass(frozen=True)
class _Sent:
    """A request, the Unix time at which it came, and what its trigger's sender leaves open."""

    headers: Headers
    body: bytes
    now: float
    options: Options

    def header(self, name: bytes) -> bytes:
        return self.headers.get(name, b"")

    def is_recent(self, stamp: bytes) -> bool:
        return stamp.isdigit() and len(stamp) <= 12 and abs(self.now - int(stamp)) <= WINDOW_SECONDS


@dataclass(frozen=True)
class Proof:
    """A delivery is proved. `signed` are the very bytes that were signed; empty where nothing was, only a secret was shown.

    `timed`: the time is signed, too, so what is older than the window has been refused already.
    """

    signed: bytes = b""
    timed: bool = False


@dataclass(frozen=True)
class _Claim:
    """What was sent as a proof: `given` has to be one of what `expected` makes of a secret and of the digest of `signed` under it."""

    signed: bytes
    given: Sequence[bytes]
    expected: Callable[[bytes, bytes], bytes]
    timed: bool = False
    void: bool = False
    keeps_signed: bool = True


def prove(sender: Sender, secrets: Sequence[bytes], headers: Headers, body: bytes, *, now: float, options: Options) -> Proof | None:
    """The proof, if it is one of the two `secrets`' (one may be a stand-in that nobody knows); None for any other."""
    claim = _CLAIMS[sender](_Sent(headers, body, now, options))
    matches = 0
    for secret in secrets:
        digest = hmac.digest(secret, claim.signed, "sha256")
        wanted = claim.expected(secret, digest)
        matches += sum(hmac.compare_digest(wanted, one) for one in claim.given)
    if not matches or claim.void:
        return None
    return Proof(claim.signed if claim.keeps_signed else b"", claim.timed)


def _hex(_: bytes, digest: bytes) -> bytes:
    return digest.hex().encode()


def _github(sent: _Sent) -> _Claim:
    return _Claim(sent.body, [_after(sent.header(b"x-hub-signature-256"), b"sha256=")], _hex)


def _sentry(sent: _Sent) -> _Claim:
    return _Claim(sent.body, [sent.header(b"sentry-hook-signature")], _hex)


def _grafana(sent: _Sent) -> _Claim:
    return _timed(sent, sent.header(sent.options.header or b"x-grafana-alerting-signature"), b":")


def _signed(sent: _Sent) -> _Claim:
    return _timed(sent, sent.header(sent.options.header or b"x-signature-256").removeprefix(b"sha256="), b".")


def _timed(sent: _Sent, given: bytes, between: bytes) -> _Claim:
    """The hex digest of the body, or of time and body where a header has the time."""
    if not sent.options.timestamp_header:
        return _Claim(sent.body, [given.lower()], _hex)
    stamp = sent.header(sent.options.timestamp_header)
    return _Claim(stamp + between + sent.body, [given.lower()], _hex, timed=True, void=not sent.is_recent(stamp))


def _stripe(sent: _Sent) -> _Claim:
    parts = [one.strip().partition(b"=") for one in sent.header(b"stripe-signature").split(b",")[:20]]
    stamps = [value for name, _, value in parts if name == b"t"]
    stamp = stamps[0] if len(stamps) == 1 else b""
    given = [value for name, _, value in parts if name == b"v1"]
    return _Claim(stamp + b"." + sent.body, given, _hex, timed=True, void=not sent.is_recent(stamp))


def _bearer(sent: _Sent) -> _Claim:
    scheme, _, token = sent.header(b"authorization").partition(b" ")
    return _shown(sent.body, token.strip() if scheme.lower() == b"bearer" else b"")


def _certificate(sent: _Sent) -> _Claim:
    """The SHA-256 of the certificate that a proxy has checked and passes on; from anybody else the header means nothing."""
    der = _certificate_in(sent.header(b"client-cert"))
    return _shown(sent.body, hashlib.sha256(der).hexdigest().encode() if der else b"", void=not sent.options.behind_proxy)


def _pagerduty(sent: _Sent) -> _Claim:
    """Found without parsing; whoever reads the body afterwards makes sure that it is what a parser finds, too: see `routing_key_of`."""
    found = _ROUTING_KEY.findall(sent.body)
    return _shown(sent.body, routing_key_of(found[0]) if len(found) == 1 else b"")


def routing_key_of(written: bytes) -> bytes:
    """The key from its JSON text."""
    try:
        return str(json.loads(written)).encode()
    except ValueError:
        return b""


def _shown(body: bytes, given: bytes, *, void: bool = False) -> _Claim:
    """A secret that is shown as it is. The digest is made all the same: it is what costs time."""
    return _Claim(body, [hashlib.sha256(given).digest()] if given else [], _itself, void=void, keeps_signed=False)


def _itself(secret: bytes, _: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _after(value: bytes, prefix: bytes) -> bytes:
    return value[len(prefix) :] if value.startswith(prefix) else b""


def _certificate_in(value: bytes) -> bytes:
    """DER from RFC 9440's `:base64:`, or from percent-encoded PEM as nginx writes it; empty for anything else."""
    if value.startswith(b":") and value.endswith(b":"):
        encoded = value[1:-1]
    elif found := _PEM.match(unquote_to_bytes(value)):
        encoded = b"".join(found[1].split())
    else:
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""


_CLAIMS: Final[Mapping[Sender, Callable[[_Sent], _Claim]]] = {
    Sender.github: _github,
    Sender.sentry: _sentry,
    Sender.grafana: _grafana,
    Sender.stripe: _stripe,
    Sender.signed: _signed,
    Sender.bearer: _bearer,
    Sender.certificate: _certificate,
    Sender.pagerduty: _pagerduty,
}
DELIVERY_HEADERS: Final[Mapping[Sender, bytes]] = {Sender.github: b"x-github-delivery", Sender.sentry: b"request-id"}
"""Where a sender calls a delivery by a name of its own; others may use `X-Delivery-Id`."""
EVENT_HEADERS: Final[Mapping[Sender, bytes]] = {Sender.github: b"x-github-event", Sender.sentry: b"sentry-hook-resource"}
"""Where a sender says what a delivery is about; others may use `X-Event`."""
