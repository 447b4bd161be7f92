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
    claim = _CLAIMS[sender](headers, body, now, options)
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


def _github(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    return _Claim(body, [_after(headers.get(b"x-hub-signature-256", b""), b"sha256=")], _hex)


def _sentry(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    return _Claim(body, [headers.get(b"sentry-hook-signature", b"")], _hex)


def _grafana(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    given = headers.get(options.header or b"x-grafana-alerting-signature", b"")
    return _timed(headers, body, now, options.timestamp_header, given, b":")


def _signed(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    given = headers.get(options.header or b"x-signature-256", b"")
    return _timed(headers, body, now, options.timestamp_header, given.removeprefix(b"sha256="), b".")


def _timed(headers: Headers, body: bytes, now: float, stamp_header: bytes, given: bytes, between: bytes) -> _Claim:
    """The hex digest of the body, or of time and body where a header has the time."""
    if not stamp_header:
        return _Claim(body, [given.lower()], _hex)
    stamp = headers.get(stamp_header, b"")
    return _Claim(stamp + between + body, [given.lower()], _hex, timed=True, void=not _is_recent(stamp, now))


def _stripe(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    parts = [one.strip().partition(b"=") for one in headers.get(b"stripe-signature", b"").split(b",")[:20]]
    stamps = [value for name, _, value in parts if name == b"t"]
    stamp = stamps[0] if len(stamps) == 1 else b""
    given = [value for name, _, value in parts if name == b"v1"]
    return _Claim(stamp + b"." + body, given, _hex, timed=True, void=not _is_recent(stamp, now))


def _bearer(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return _shown(body, token.strip() if scheme.lower() == b"bearer" else b"")


def _certificate(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    """The SHA-256 of the certificate that a proxy has checked and passes on; from anybody else the header means nothing."""
    der = _certificate_in(headers.get(b"client-cert", b""))
    return _shown(body, hashlib.sha256(der).hexdigest().encode() if der else b"", void=not options.behind_proxy)


def _pagerduty(headers: Headers, body: bytes, now: float, options: Options) -> _Claim:
    """Found without parsing; whoever reads the body afterwards makes sure that it is what a parser finds, too: see `routing_key_of`."""
    found = _ROUTING_KEY.findall(body)
    return _shown(body, routing_key_of(found[0]) if len(found) == 1 else b"")


def routing_key_of(written: bytes) -> bytes:
    """The key from its JSON text."""
    try:
        return str(json.loads(written)).encode()
    except ValueError:
        return b""


def _shown(body: bytes, given: bytes, *, void: bool = False) -> _Claim:
    """A secret that is shown as it is. The digest is made all the same: it is what costs time."""
    return _Claim(body, [hashlib.sha256(given).digest()] if given else [], _itself, void=void, keeps_signed=False)


def _itself(secret: bytes, digest: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _after(value: bytes, prefix: bytes) -> bytes:
    return value[len(prefix) :] if value.startswith(prefix) else b""


def _is_recent(stamp: bytes, now: float) -> bool:
    return stamp.isdigit() and len(stamp) <= 12 and abs(now - int(stamp)) <= WINDOW_SECONDS


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


_CLAIMS: Final[Mapping[Sender, Callable[[Headers, bytes, float, Options], _Claim]]] = {
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
