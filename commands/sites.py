"""Our address as Web Authentication sees it, and the library's answers as sentences (https://www.w3.org/TR/webauthn-3)."""

import ipaddress
import logging
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from fido2.cose import ES256, RS256, CoseKey, EdDSA
from fido2.server import Fido2Server
from fido2.webauthn import (
    AuthenticationResponse,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    RegistrationResponse,
)

from countersign.errors import CountersignError

KEYS: Final[tuple[type[CoseKey], ...]] = (ES256, EdDSA, RS256)
MOST_TEXT: Final = 4_000
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
# What the library and its parsers raise for bytes that mean nothing.
_UNREADABLE: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, RecursionError, struct.error)
_REASONS: Final = (
    ("type", "wrong_kind", "This is not a signature of the kind that is wanted here."),
    ("origin", "wrong_origin", "This was signed on another site than {origin}."),
    ("challenge", "wrong_challenge", "What was signed is not this decision on this plan as it is now; load it again and sign that."),
    ("RP ID", "wrong_rp", "This was signed with a key for another site than {rp_id}."),
    ("Present", "no_presence", "The key was used without anybody touching it."),
    ("erified", "no_verification", "The key did not ask for a PIN, a finger or a face."),
    ("signature", "bad_signature", "The signature does not fit the key."),
)
T = TypeVar("T")
logging.getLogger("fido2").setLevel(logging.WARNING)  # else it tells the id of every key it sees


class WrongPasskey(CountersignError):
    """An enrolment or a signed decision that does not count: one sentence, and one word for the record."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Site:
    """Whom keys are for: the relying party's id, and the origins of pages that may use them."""

    rp_id: str
    origins: tuple[str, ...]
    problem: str = ""

    @classmethod
    def of(cls, address: str) -> "Site":
        """The site at our public address; browsers know no passkeys for plain http or for an IP address, except on one's own machine."""
        parts = urlsplit(address)
        host, origin = parts.hostname or "", f"{parts.scheme}://{parts.netloc}"
        if host in _LOOPBACK:
            port = f":{parts.port}" if parts.port else ""
            return cls("localhost", tuple(dict.fromkeys((origin, f"{parts.scheme}://localhost{port}"))))
        if parts.scheme == "https" and host and not _is_ip(host):
            return cls(host, (origin,))
        return cls(host, (origin,), "Passkeys need COUNTERSIGN_PUBLIC_URL to be an https address with a name; tell your admin.")

    @property
    def server(self) -> Fido2Server:
        """The library's relying party; attestation is not asked for, because who may sign is decided by people."""
        return _server(self)


@lru_cache(maxsize=16)
def _server(site: Site) -> Fido2Server:
    """Made once for each site: it keeps nothing of what it checks, and making it takes longer than a check."""
    server = Fido2Server(PublicKeyCredentialRpEntity(name="Countersign", id=site.rp_id), verify_origin=lambda one: one in site.origins)
    server.allowed_algorithms = [PublicKeyCredentialParameters(type=PublicKeyCredentialType.PUBLIC_KEY, alg=one.ALGORITHM) for one in KEYS]
    return server


def understood(work: Callable[[], T], site: Site | None = None) -> T:
    """What the library read; raises WrongPasskey where it refused.

    That it refused is known by its raising. Which check failed is read from its message, for the sentence alone.
    """
    try:
        return work()
    except _UNREADABLE as error:
        for words, reason, sentence in _REASONS if site else ():
            if site and words in str(error):
                raise WrongPasskey(reason, sentence.format(origin=site.origins[0], rp_id=site.rp_id)) from None
        raise unreadable() from None


def trimmed(response: Mapping[str, Any], *wanted: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Only what is looked at of a browser's answer, as text of sensible length; raises WrongPasskey when something of it is missing."""
    given: object = response
    if not isinstance(given, Mapping):  # it may have been read from a row that nobody of ours wrote
        raise unreadable()
    inner, name = response.get("response"), response.get("rawId") or response.get("id")
    if not isinstance(inner, Mapping) or response.get("type", "public-key") != "public-key" or response.get("id", name) != name:
        raise unreadable()
    parts = {one: inner.get(one) for one in wanted} | {one: inner[one] for one in optional if inner.get(one)}
    if not all(isinstance(one, str) and 0 < len(one) <= MOST_TEXT for one in (*parts.values(), name)):
        raise unreadable()
    return {"id": name, "rawId": name, "type": "public-key", "response": parts}


def check_frame(given: RegistrationResponse | AuthenticationResponse) -> None:
    """Raises WrongPasskey for what was signed inside another site's page."""
    if given.response.client_data.cross_origin is not False:
        raise WrongPasskey("wrong_origin", "This was signed inside a page of another site.")


def unreadable() -> WrongPasskey:
    return WrongPasskey("unreadable", "This is not a passkey's answer.")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
