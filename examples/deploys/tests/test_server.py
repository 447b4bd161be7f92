"""The demo server shows the release that is current, says why it cannot, and can be stopped and started again."""

import gzip
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from countersign_deploys.server import Server, answer
from countersign_deploys.sites import Env, Site


def get(url: str, path: str, *, method: str = "GET", packed: bool = False) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)) as connection:
        connection.request(method, path, headers={"Accept-Encoding": "gzip" if packed else "identity"})
        given = connection.getresponse()
        return given.status, dict(given.getheaders()), given.read()


def test_the_page_and_the_version_follow_the_link(site: Site, server: Server) -> None:
    assert b"<h1>v1</h1>" in get(server.url, "/prod/api/")[2]
    site.point("api", Env.prod, "v3")
    assert b"<h1>v3</h1>" in get(server.url, "/prod/api/?fresh=1")[2]
    assert get(server.url, "/prod/api/version")[2] == b"v3\n"
    assert get(server.url, "/staging/api/version")[2] == b"v1\n"


def test_the_front_page_lists_everything_and_escapes_it(site: Site, server: Server) -> None:
    (site.root / "prod" / "api" / "current").unlink()
    (site.root / "prod" / "api" / "current").symlink_to("<script>")
    status, headers, body = get(server.url, "/")
    assert status == 200
    assert body.count(b"<tr>") == 4
    assert b"<script>" not in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/nothing", "/prod/", "/prod/none/", "/test/api/", "/prod/api/../web/", "/prod/%61pi/", "/prod/api/x"])
def test_what_is_not_there_is_not_found(server: Server, path: str) -> None:
    assert get(server.url, path)[0] == 404


def test_a_broken_release_says_so(site: Site, server: Server) -> None:
    site.point("web", Env.staging, "broken")
    status, _, body = get(server.url, "/staging/web/")
    assert (status, body) == (503, b"The release broken of web has no index.html.\n")


def test_maintenance_shows_its_note_as_plain_text(site: Site, server: Server) -> None:
    (site.root / "prod" / "web" / "maintenance").write_text("<b>Soon</b>\n")
    status, headers, body = get(server.url, "/prod/web/")
    assert (status, headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert body == b"web is in maintenance. <b>Soon</b>\n"
    assert get(server.url, "/prod/web/version")[2] == b"v1\n"
    assert b"v1, in maintenance" in get(server.url, "/")[2]


def test_the_compressed_copy_is_kept_and_made_again_when_the_page_changed(site: Site, server: Server) -> None:
    page, copy = site.root / "releases" / "api" / "v1" / "index.html", site.root / "cache" / "api" / "v1.html.gz"
    _, headers, body = get(server.url, "/prod/api/", packed=True)
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == page.read_bytes()
    first = copy.stat().st_ino
    get(server.url, "/prod/api/", packed=True)
    assert copy.stat().st_ino == first
    page.write_text("built again")
    os.utime(page, ns=(1, 1))
    assert gzip.decompress(get(server.url, "/prod/api/", packed=True)[2]) == b"built again"
    copy.unlink()
    assert gzip.decompress(get(server.url, "/prod/api/", packed=True)[2]) == b"built again"


def test_a_page_is_served_when_no_copy_can_be_kept(site: Site) -> None:
    (site.root / "cache").write_text("in the way")
    assert gzip.decompress(answer(site, "/prod/api/").packed).startswith(b"<!doctype html>")


def test_head_has_no_body_and_other_methods_are_refused(server: Server) -> None:
    status, headers, body = get(server.url, "/prod/api/", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0
    assert get(server.url, "/prod/api/", method="POST")[0] == 501


def test_the_access_log_goes_on_when_it_was_moved_away(site: Site, server: Server) -> None:
    log = site.root / "logs" / "access.log"
    get(server.url, "/prod/api/")
    log.rename(log.with_name("access.log.1"))
    get(server.url, "/prod/none/")
    line = log.read_text()
    assert line.endswith("127.0.0.1 'GET /prod/none/ HTTP/1.1' 404\n")
    assert line.count("\n") == 1


def test_a_request_cannot_forge_a_log_line(site: Site, server: Server) -> None:
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=5) as connection:
        connection.sendall(b"GET /\x1b[31mred\x0b HTTP/1.0\r\n\r\n")
        while connection.recv(4096):
            pass
    text = (site.root / "logs" / "access.log").read_text()
    assert "\x1b" not in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_makes_the_demo_and_ends_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    program = start(tmp_path / "site", port, "--demo")
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        assert get(url, "/staging/web/version")[2] == b"v1\n"
        program.send_signal(number)
        assert program.wait(10) == 0
        assert program.stderr is not None
        assert program.stderr.read() == b""
    finally:
        end(program)


def test_a_taken_port_is_one_sentence(server: Server, tmp_path: Path) -> None:
    program = start(tmp_path / "site", server.server_port, "--demo")
    try:
        _, said = program.communicate(timeout=60)
        assert program.returncode == 1
        assert b"Address already in use" in said
        assert said.count(b"\n") == 1
    finally:
        end(program)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    program = start(tmp_path / "none", 0)
    try:
        _, said = program.communicate(timeout=60)
        assert program.returncode == 1
        assert b"is no folder; name one, or add --demo" in said
    finally:
        end(program)


def start(root: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "countersign_deploys.server", "--root", str(root), "--port", str(port), *options]
    return subprocess.Popen(words, stderr=subprocess.PIPE)


def end(program: subprocess.Popen[bytes]) -> None:
    program.kill()
    program.wait()
    if program.stderr:
        program.stderr.close()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            get(url, "/")
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
