"""Where calls may go: which hosts an operator allowed, and which addresses are never reached by accident."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LISTED = re.compile(r"(?:\[(?P<v6>[0-9a-f.]*:[0-9a-f:.]*)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?\Z")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z")

# Python's is_global knows most of the IANA special-purpose registries; these it judges differently from one release to the next.
_NEVER_GLOBAL: Final = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10")
)
_NAT64: Final = ip_network("64:ff9b::/96")
_V4_COMPATIBLE: Final = ip_network("::/96")


@dataclass(frozen=True)
class Endpoint:
    """A host with its port, lower case, as an operator listed it and as a call names it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> tuple[Self, ...]:
        """`host:port` is one endpoint; a bare `host` is both ports of the web, 443 and 80. Raises ValueError with a sentence."""
        host, port = _split(text.strip().lower())
        if not _is_host(host):
            raise ValueError(f"{text!r} should be a host or host:port, for instance api.example.test or grafana.internal:3000")
        if port is None:
            return tuple(cls(host, default) for default in sorted(DEFAULT_PORTS.values(), reverse=True))
        if not 1 <= port <= 65_535:
            raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
        return (cls(host, port),)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Permit:
    """One endpoint may be reached at private addresses, but only at these."""

    endpoint: Endpoint
    network: Network

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `host:port=address`, where the address may be a network; raises ValueError with a sentence."""
        listed, sign, address = text.rpartition("=")
        endpoints = Endpoint.parse(listed) if sign else ()
        if len(endpoints) != 1:
            raise ValueError(f"{text!r} should be host:port=address, for instance grafana.internal:3000=10.0.0.5")
        try:
            return cls(endpoints[0], ip_network(address.strip()))
        except ValueError:
            raise ValueError(f"{text!r} should end in an address or a network, for instance =10.0.0.5 or =10.0.0.0/24") from None


@dataclass(frozen=True)
class Egress:
    """The rule for every call: to a listed endpoint, and to public addresses unless a private one is permitted for that endpoint."""

    endpoints: frozenset[Endpoint]
    permits: tuple[Permit, ...] = ()

    @classmethod
    def of(cls, allow: Iterable[str], private: Iterable[str]) -> Self:
        """Raises ValueError with a sentence for what cannot be read, and for a private address of an endpoint that is not allowed."""
        endpoints = frozenset(one for text in allow for one in Endpoint.parse(text))
        permits = tuple(Permit.parse(text) for text in private)
        for permit in permits:
            if permit.endpoint not in endpoints:
                raise ValueError(f"{permit.endpoint} may use a private address but is not allowed itself; add it to allow too")
        return cls(endpoints, permits)

    def allows(self, endpoint: Endpoint) -> bool:
        return endpoint in self.endpoints

    def permits_address(self, endpoint: Endpoint, address: Address) -> bool:
        """Whether a connection for `endpoint` may be opened to exactly `address`."""
        if is_public(address):
            return True
        if address.is_unspecified or address.is_multicast:
            return False
        return any(permit.endpoint == endpoint and address in permit.network for permit in self.permits)


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet, and so does an IPv4 address written inside an IPv6 one.

    Source: the IANA special-purpose address registries; NAT64 (RFC 6052), 6to4, Teredo and mapped addresses carry an IPv4 address.
    """
    if address in _NAT64:
        return is_public(_low_bits(address))
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local:
        return False
    if any(address in network for network in _NEVER_GLOBAL):
        return False
    inner = _inner(address)
    return inner is None or is_public(inner)


def addresses_of(texts: Iterable[str]) -> tuple[Address, ...]:
    """Resolver answers as addresses, each once, in order; an IPv6 scope stays and makes the address link-local."""
    return tuple(dict.fromkeys(ip_address(text) for text in texts))


def _inner(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    return _low_bits(address) if address in _V4_COMPATIBLE else address.ipv4_mapped or address.sixtofour


def _low_bits(address: Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


def _split(text: str) -> tuple[str, int | None]:
    match = _LISTED.match(text)
    if not match:
        return "", None
    return match["v6"] or match["host"], int(match["port"]) if match["port"] else None


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            return isinstance(ip_address(text), IPv6Address)
        except ValueError:
            return False
    return len(text) <= 253 and bool(_HOST.match(text))
