"""Public or not, and what an operator may list."""

from ipaddress import ip_address

import pytest

from integrations.addresses import Egress, Endpoint, is_public

# ruff: noqa: S104 - nothing is bound here

SPECIAL = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.255 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.9 192.0.0.192
192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 100::1 2001::1
2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
"""


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", SPECIAL.split())
def test_everything_special_is_not(text: str) -> None:
    assert not is_public(ip_address(text))


def test_a_bare_host_means_the_ports_of_the_web() -> None:
    assert Endpoint.parse("API.example.test ") == (Endpoint("api.example.test", 443), Endpoint("api.example.test", 80))
    assert Endpoint.parse("grafana.internal:3000") == (Endpoint("grafana.internal", 3000),)
    assert Endpoint.parse("[::1]:8080") == (Endpoint("::1", 8080),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.example.test",
        "https://a.test",
        "a.test/x",
        "a@b.test",
        "a.test:",
        "a.test:x",
        "a.test:70000",
        "a.test:0",
        "::1",
        "[a]:1",
    ],
)
def test_what_is_not_a_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"should be a host|a port is a number"):
        Endpoint.parse(text)


def test_a_private_address_needs_its_host_allowed_too() -> None:
    with pytest.raises(
        ValueError, match=r"grafana\.internal:3000 may use a private address but is not allowed itself; add it to allow too"
    ):
        Egress.of(["other.test"], ["grafana.internal:3000=10.0.0.5"])
    for text in ("grafana.internal=10.0.0.5", "grafana.internal:3000", "grafana.internal:3000=", "grafana.internal:3000=x"):
        with pytest.raises(ValueError, match="should"):
            Egress.of(["grafana.internal:3000"], [text])


def test_no_permit_reaches_nowhere_or_everybody() -> None:
    rule = Egress.of(["a.test:80"], ["a.test:80=0.0.0.0/0", "a.test:80=::/0"])
    (endpoint,) = Endpoint.parse("a.test:80")
    assert rule.permits_address(endpoint, ip_address("10.0.0.1"))
    assert not any(rule.permits_address(endpoint, ip_address(text)) for text in ("0.0.0.0", "224.0.0.1", "::", "ff02::1"))
