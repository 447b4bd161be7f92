"""Nobody gets the hub to call its own network: not by another spelling, not by a name, not by a name that changes its mind."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from countersign import StepFailed
from integrations.addresses import Egress, Endpoint, is_public
from integrations.http import EgressDenied, Http, Resolve, checked_url, system_resolver
from tests.integrations.nasty_urls import HOSTS, TRICKS

PUBLIC = "93.184.216.34"
ANSWERS = {
    "localhost": ["127.0.0.1", "::1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
}


@dataclass
class Canary:
    """Listens on every local address and counts who comes."""

    port: int = 0
    visits: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def canary() -> AsyncIterator[Canary]:
    bird = Canary()
    everywhere = await asyncio.start_server(bird, ["0.0.0.0", "::"] if socket.has_dualstack_ipv6() else ["0.0.0.0"], 0)  # noqa: S104
    ports = {one.family: one.getsockname()[1] for one in everywhere.sockets}
    bird.port = ports[socket.AF_INET]
    async with everywhere:
        yield bird


async def resolve(host: str, port: int) -> list[str]:
    """As the system would, without asking a name server: every numeric spelling it understands, and names that point inside."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ANSWERS.get(host, ["127.0.0.1"])
    return [str(address[0]) for *_, address in found]


class EverythingListed(Egress):
    """The rule with its first half switched off, to see the second half at work alone."""

    def allows(self, endpoint: Endpoint) -> bool:
        return True


class ListingEverything(Http.Settings):
    def egress(self) -> Egress:
        return EverythingListed(frozenset())


def with_everything_listed(resolver: Resolve = resolve, network: httpcore.AsyncNetworkBackend | None = None) -> Http:
    return Http(ListingEverything(), resolve=resolver, network=network)


def client(*allow: str, private: tuple[str, ...] = (), **options: Any) -> Http:
    return Http(Http.Settings(allow=list(allow), private=list(private)), **({"resolve": resolve} | options))


async def test_no_nasty_address_passes_the_list_of_hosts(canary: Canary) -> None:
    http = client("api.example.test", resolve=no_name_is_looked_up)
    corpus = [f"{scheme}://{host}:{canary.port}/" for host in HOSTS for scheme in ("http", "https")]
    corpus += [url.format(port=canary.port) for url in TRICKS]
    assert len(corpus) >= 280
    for url in corpus:
        with pytest.raises(EgressDenied) as refused:
            await http.get(url)
        assert "\n" not in str(refused.value)
        with pytest.raises(EgressDenied):
            await http.send("POST", url, key="k", json={})
    assert canary.visits == 0
    await http.close()


async def test_even_a_listed_host_is_not_reached_at_a_private_address(canary: Canary) -> None:
    """An operator who lists a name has not permitted the address; this is what holds when a listed name is taken over."""
    network = OnlyHere()
    http = with_everything_listed(network=network)
    corpus = [f"{scheme}://{host}:{canary.port}/" for host in HOSTS for scheme in ("http", "https")]
    for url in corpus + [url.format(port=canary.port) for url in TRICKS]:
        with pytest.raises(StepFailed):
            await http.get(url)
    assert (canary.visits, network.reached) == (0, [])
    await http.close()


async def test_the_canary_sings_when_somebody_is_permitted_to_come(canary: Canary) -> None:
    """Without this the zeros above would prove nothing."""
    http = client(f"grafana.internal:{canary.port}", private=(f"grafana.internal:{canary.port}=127.0.0.1",))
    assert (await http.get(f"http://grafana.internal:{canary.port}/")).status == 204
    assert canary.visits == 1
    await http.close()


async def test_a_permit_is_for_one_host_one_port_and_one_address(canary: Canary) -> None:
    port = canary.port
    http = client(f"grafana.internal:{port}", f"other.internal:{port}", private=(f"grafana.internal:{port}=127.0.0.2",))
    for url in (f"http://grafana.internal:{port}/", f"http://other.internal:{port}/"):
        with pytest.raises(EgressDenied, match=r"127\.0\.0\.1, which is not public and not permitted"):
            await http.get(url)
    assert canary.visits == 0
    await http.close()


async def test_a_name_is_asked_once_and_its_first_answer_is_dialled() -> None:
    """DNS rebinding: the first answer is public, the next one is inside."""
    rebinding, network = Rebinding([[PUBLIC], ["127.0.0.1"]]), Recorder()
    http = client("rebinding.example", resolve=rebinding, network=network)
    with pytest.raises(StepFailed, match="no connection; nothing was sent"):
        await http.get("http://rebinding.example/")
    assert network.dialled == [(PUBLIC, 80)]
    assert rebinding.asked == 1
    with pytest.raises(EgressDenied, match=r"at the address 127\.0\.0\.1"):
        await http.get("http://rebinding.example/")
    assert network.dialled == [(PUBLIC, 80)]
    await http.close()


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    network = Recorder()
    http = client("mixed.example", network=network)
    with pytest.raises(EgressDenied):
        await http.get("https://mixed.example/")
    assert network.dialled == []
    await http.close()


async def test_every_public_address_is_tried_before_giving_up() -> None:
    network = Recorder()
    http = client("twice.example", resolve=Rebinding([[PUBLIC, "2606:4700:4700::1111"]]), network=network)
    with pytest.raises(StepFailed, match="no connection"):
        await http.get("https://twice.example/")
    assert network.dialled == [(PUBLIC, 443), ("2606:4700:4700::1111", 443)]
    await http.close()


async def test_an_empty_list_allows_nobody() -> None:
    http = client()
    with pytest.raises(
        EgressDenied, match=r"api\.example\.test:443 is not an allowed host; an operator lists it in COUNTERSIGN_HTTP__ALLOW"
    ):
        await http.get("https://api.example.test/hidden/path")
    await http.close()


async def test_the_systems_resolver_understands_the_old_spellings_and_is_guarded_all_the_same(canary: Canary) -> None:
    assert "127.0.0.1" in await system_resolver("localhost", 80) + await system_resolver("127.0.0.1", 80)
    guarded = with_everything_listed(system_resolver)
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "localhost"):
        with pytest.raises(EgressDenied):
            await guarded.get(f"http://{host}:{canary.port}/")
    assert canary.visits == 0
    await guarded.close()


def test_a_listed_address_keeps_its_path_and_query() -> None:
    url = checked_url("https://API.example.test/a%2Fb?c=d@e#f", Http.Settings(allow=["api.example.test"]).egress())
    assert (url.host, url.raw_path) == ("api.example.test", b"/a%2Fb?c=d@e")


def test_what_follows_the_hash_is_no_host() -> None:
    assert checked_url("http://api.example.test#@127.0.0.1/", Http.Settings(allow=["api.example.test"]).egress()).host == "api.example.test"


async def no_name_is_looked_up(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was looked up")


@dataclass
class Rebinding:
    answers: list[list[str]]
    asked: int = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@dataclass
class Recorder(httpcore.AsyncNetworkBackend):
    """Writes down who is dialled and never gets through."""

    dialled: list[tuple[str, int]] = field(default_factory=list)

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.dialled.append((host, port))
        raise httpcore.ConnectError("not today")


@dataclass
class OnlyHere(httpcore.AnyIOBackend):
    """Reaches every address that is not public, so that a canary would hear, and leaves the internet alone."""

    reached: list[str] = field(default_factory=list)

    async def connect_tcp(self, host: str, port: int, *rest: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        if is_public(ip_address(host)):
            raise httpcore.ConnectError("the internet is not part of this test")
        self.reached.append(host)
        return await super().connect_tcp(host, port, *rest, **options)
