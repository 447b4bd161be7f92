"""One plain call: what is sent, what comes back, and a sentence for everything that can go wrong in between."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from countersign import StepFailed
from countersign.errors import ActsWhilePlanning
from integrations.http import Http

Write = Callable[[asyncio.StreamWriter], Awaitable[None]]
NAME = "api.example.test"


@dataclass
class Server:
    """Answers every request with the same bytes and keeps what it was sent."""

    answer: bytes | Write = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            self.heard.append(head + await reader.readexactly(length[0] if length else 0))
            if isinstance(self.answer, bytes):
                writer.write(self.answer)
            else:
                await self.answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking(server: Server, *, tls: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Http]:
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    listed = f"{NAME}:{server.port}"
    http = Http(Http.Settings(allow=[listed], private=[f"{listed}=127.0.0.1"], **settings), resolve=here)
    async with listening:
        yield http
        await http.close()


async def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_a_get_gives_status_headers_and_body() -> None:
    server = Server(b'HTTP/1.1 200 OK\r\nX-Who: lin\r\ncontent-length: 11\r\n\r\n{"up":true}')
    async with talking(server) as http:
        answer = await http.get(f"http://{NAME}:{server.port}/health?deep=1", headers={"authorization": "Bearer t"})
    assert (answer.status, answer.headers["x-who"], answer.json()) == (200, "lin", {"up": True})
    head = server.heard[0].decode().lower()
    assert head.startswith("get /health?deep=1 http/1.1\r\n")
    assert f"host: {NAME}:{server.port}\r\n" in head
    assert "authorization: bearer t\r\n" in head
    assert "accept-encoding: identity\r\n" in head


async def test_a_send_carries_its_key_so_that_the_other_side_can_refuse_a_repetition() -> None:
    server = Server()
    async with talking(server) as http:
        assert (await http.send("post", f"http://{NAME}:{server.port}/x", key="run-1/step-0", json={"a": 1})).text == "ok"
        await http.send("PUT", f"http://{NAME}:{server.port}/x", key="k", body=b"\x00\x01")
    assert b"idempotency-key: run-1/step-0\r\n" in server.heard[0].lower()
    assert server.heard[0].endswith(b'{"a":1}')
    assert server.heard[1].endswith(b"\r\n\r\n\x00\x01")


async def test_a_send_is_refused_while_planning_and_a_get_is_not() -> None:
    server = Server()
    async with talking(server) as http:
        http.planning = True
        with pytest.raises(ActsWhilePlanning):
            await http.send("POST", f"http://{NAME}:{server.port}/x", key="k")
        assert (await http.get(f"http://{NAME}:{server.port}/x")).status == 200
    assert len(server.heard) == 1


async def test_only_a_success_is_an_answer_unless_asked_otherwise() -> None:
    server = Server(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    async with talking(server) as http:
        with pytest.raises(StepFailed, match=r"^GET api\.example\.test answered 404$"):
            await http.get(f"http://{NAME}:{server.port}/secret-path")
        assert (await http.get(f"http://{NAME}:{server.port}/", statuses={200, 404})).status == 404


async def test_a_redirect_is_not_followed_and_said_so() -> None:
    server = Server()
    async with talking(server) as http:
        server.answer = f"HTTP/1.1 302 Found\r\nlocation: http://{NAME}:{server.port}/next\r\ncontent-length: 0\r\n\r\n".encode()
        with pytest.raises(StepFailed, match="answered 302, a redirect, which is not followed"):
            await http.get(f"http://{NAME}:{server.port}/")
    assert len(server.heard) == 1


async def test_cookies_are_not_carried_from_one_call_to_another() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\nset-cookie: session=ada; path=/\r\ncontent-length: 0\r\n\r\n")
    async with talking(server) as http:
        await http.get(f"http://{NAME}:{server.port}/")
        await http.get(f"http://{NAME}:{server.port}/")
    assert b"cookie" not in server.heard[1].lower()


@pytest.mark.parametrize("header", ["Host", "content-length", "Transfer-Encoding", "Idempotency-Key", "connection"])
async def test_headers_that_steer_the_connection_cannot_be_given(header: str) -> None:
    server = Server()
    async with talking(server) as http:
        with pytest.raises(StepFailed, match="is set by Countersign and cannot be given"):
            await http.get(f"http://{NAME}:{server.port}/", headers={header: "x"})
    assert server.heard == []


@pytest.mark.parametrize("value", ["a\r\nHost: evil.example", "a\nb", "a\x00b", "\r", "é\u0430"])
async def test_a_header_cannot_smuggle_another(value: str) -> None:
    server = Server()
    async with talking(server) as http:
        with pytest.raises(StepFailed):
            await http.get(f"http://{NAME}:{server.port}/", headers={"x-note": value})
    assert server.heard == []


async def test_json_that_cannot_be_written_is_a_sentence() -> None:
    async with talking(server := Server()) as http:
        for value in (object(), float("nan")):
            with pytest.raises(StepFailed, match="cannot be sent as given"):
                await http.send("POST", f"http://{NAME}:{server.port}/", key="k", json=value)
        with pytest.raises(StepFailed, match="either json or body"):
            await http.send("POST", f"http://{NAME}:{server.port}/", key="k", json=1, body=b"1")
        with pytest.raises(StepFailed, match="should be one of POST, PUT, PATCH, DELETE"):
            await http.send("TRACE", f"http://{NAME}:{server.port}/", key="k")


async def test_a_long_answer_is_cut_off_and_not_collected() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    async with talking(server := Server(endless), max_bytes=100_000) as http:
        with pytest.raises(StepFailed, match="answered more than 100000 bytes"):
            await http.get(f"http://{NAME}:{server.port}/")


async def test_a_compressed_answer_is_refused_before_it_is_blown_up() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb)
    async with talking(server) as http:
        with pytest.raises(StepFailed, match="compressed bytes although none were accepted"):
            await http.get(f"http://{NAME}:{server.port}/")


async def test_a_slow_drip_ends_at_the_time_limit() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with talking(server := Server(drip), timeout="0.3s") as http:
        with pytest.raises(StepFailed, match=r"no complete answer within 0\.3s; the call may have been received"):
            await http.get(f"http://{NAME}:{server.port}/")


async def test_a_broken_answer_says_that_the_call_may_have_arrived() -> None:
    for answer in (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"", b"nonsense\r\n\r\n"):
        async with talking(server := Server(answer)) as http:
            with pytest.raises(StepFailed, match="the call may have been received"):
                await http.send("POST", f"http://{NAME}:{server.port}/", key="k")


async def test_nobody_listening_says_that_nothing_was_sent() -> None:
    async with talking(server := Server()) as http:
        pass
    http = Http(Http.Settings(allow=[f"{NAME}:{server.port}"], private=[f"{NAME}:{server.port}=127.0.0.1"]), resolve=here)
    with pytest.raises(StepFailed, match="no connection; nothing was sent"):
        await http.get(f"http://{NAME}:{server.port}/")
    await http.close()


async def test_tls_names_the_host_although_the_address_is_dialled(tmp_path: Path) -> None:
    server = Server()
    tls = certified(tmp_path, NAME, server)
    async with talking(server, tls=tls, ca_file=tmp_path / "ca.pem") as http:
        assert (await http.get(f"https://{NAME}:{server.port}/")).text == "ok"
    assert server.names == [NAME]
    assert f"host: {NAME}:{server.port}".encode() in server.heard[0].lower()


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    server = Server()
    tls = certified(tmp_path, "evil.example.test", server)
    async with talking(server, tls=tls, ca_file=tmp_path / "ca.pem") as http:
        with pytest.raises(StepFailed, match="no connection; nothing was sent"):
            await http.get(f"https://{NAME}:{server.port}/")
    assert server.heard == []


async def test_the_address_of_a_call_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with talking(server := Server()) as http:
            await http.get(f"http://{NAME}:{server.port}/services/T0/B0/canary")
    assert "canary" not in caplog.text


def certified(folder: Path, name: str, server: Server) -> ssl.SSLContext:
    """A server's side of TLS with a certificate of its own, written to the folder for the client to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    context.sni_callback = lambda _socket, asked, _context: server.names.append(asked)
    return context
