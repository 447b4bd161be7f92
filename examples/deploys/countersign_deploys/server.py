"""The demo's web server: `python -m countersign_deploys.server --root DIR --port N [--demo]`.

`/<env>/<service>/` is the page of the release that is current, `/<env>/<service>/version` its name, `/` a list of both. The server keeps
compressed copies of pages under `cache/` and one line per request in `logs/access.log`.
"""

import argparse
import contextlib
import gzip
import html
import os
import re
import signal
import socketserver
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from countersign import StepFailed

from .demos import prepare
from .sites import PAGE, Env, Site

_PATH: Final = re.compile(r"/(staging|prod)/([a-z0-9][a-z0-9._-]*)/(version)?\Z")
_SAFE: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; 1 with a sentence on standard error when it cannot."""
    given = _options().parse_args(argv)
    site = Site(given.root)
    try:
        if given.demo:
            prepare(site)
        if not site.root.is_dir():
            raise NotADirectoryError(f"{site.root} is no folder; name one, or add --demo to make it")
        server = Server(site, given.host, given.port)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"countersign_deploys.server: port {given.port}, {site.root}: {error}\n")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server:
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            return 0
    return 0


class Server(ThreadingHTTPServer):
    """Serves one site; port 0 takes a free one, which `url` names."""

    def __init__(self, site: Site, host: str, port: int) -> None:
        self.site = site
        self._access = site.root / "logs" / "access.log"
        self._access.parent.mkdir(exist_ok=True)
        super().__init__((host, port), Handler)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"

    def server_bind(self) -> None:
        # HTTPServer would ask the network for this machine's name, which can take seconds and is not used.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def log(self, line: str) -> None:
        """Adds a line to the access log, which is opened each time so that it may be moved away at any moment."""
        with self._access.open("a", encoding="utf-8") as access:
            access.write(line + "\n")

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that goes away in the middle of an answer is no news.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


@dataclass(frozen=True)
class Answer:
    """What goes back to the browser; `packed` is the same body compressed, when there is a copy."""

    status: HTTPStatus
    body: bytes
    packed: bytes = b""
    kind: str = "text/html; charset=utf-8"


def answer(site: Site, path: str) -> Answer:
    """The answer to one path, read from the folders as they are now."""
    if path == "/":
        return _overview(site)
    found = _PATH.match(path)
    if not found:
        return _sentence(HTTPStatus.NOT_FOUND, "There is no such page; / lists what there is.")
    env, service = Env(found[1]), found[2]
    try:
        version = site.current(service, env)
    except StepFailed as error:
        return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    if version is None:
        return _sentence(HTTPStatus.NOT_FOUND, f"{service} does not run in {env}.")
    if found[3]:
        return Answer(HTTPStatus.OK, f"{version}\n".encode(), kind="text/plain; charset=utf-8")
    if (note := site.closed(service, env)) is not None:
        return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, f"{service} is in maintenance. {note}")
    return _page(site, service, version)


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD, and nothing else."""

    server: Server
    timeout = 10

    def version_string(self) -> str:
        return "site"

    def do_GET(self) -> None:
        given = answer(self.server.site, self.path.partition("?")[0])
        packed = given.packed if "gzip" in self.headers.get("Accept-Encoding", "") else b""
        self.send_response(given.status)
        headers = _SAFE | {"Content-Type": given.kind, "Content-Length": str(len(packed or given.body))}
        for name, value in (headers | ({"Content-Encoding": "gzip"} if packed else {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(packed or given.body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  an answer's size is not logged
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        # ascii() leaves no control character that could forge a line or colour a terminal.
        self.server.log(f"{moment} {self.client_address[0]} {self.requestline!a} {int(code)}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Errors of single connections are no news: the access log has the status."""


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m countersign_deploys.server", description="Serves the current releases of a site.")
    options.add_argument("--root", type=Path, required=True, help="the site's folder")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--demo", action="store_true", help="make demo releases and runbooks under --root where they are missing")
    return options


def _page(site: Site, service: str, version: str) -> Answer:
    source = site.root / "releases" / service / version / PAGE
    try:
        body, built = source.read_bytes(), source.stat().st_mtime_ns
    except OSError:
        return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, f"The release {version} of {service} has no {PAGE}.")
    return Answer(HTTPStatus.OK, body, packed=_copy(site.root / "cache" / service / f"{version}.html.gz", body, built=built))


def _copy(path: Path, body: bytes, *, built: int) -> bytes:
    """The kept copy while it is as old as its page, else a new one; a copy that cannot be kept is no reason not to answer."""
    try:
        if path.stat().st_mtime_ns == built:
            return path.read_bytes()
    except OSError:
        pass
    packed = gzip.compress(body, mtime=0)
    beside = path.with_name(f".{path.name}-{uuid4()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(packed)
        os.utime(beside, ns=(built, built))
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
    return packed


def _overview(site: Site) -> Answer:
    rows = [
        f'<tr><td><a href="/{env}/{service}/">{env} {service}</a></td><td>{html.escape(_stands(site, service, env))}</td></tr>'
        for service in site.services()
        for env in Env
    ]
    return Answer(HTTPStatus.OK, f"<!doctype html><title>Site</title><h1>What runs where</h1><table>{''.join(rows)}</table>\n".encode())


def _stands(site: Site, service: str, env: Env) -> str:
    try:
        version = site.current(service, env)
    except StepFailed as error:
        return str(error)
    return f"{version or 'nothing'}{', in maintenance' if site.closed(service, env) is not None else ''}"


def _sentence(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, f"{text}\n".encode(), kind="text/plain; charset=utf-8")


if __name__ == "__main__":
    sys.exit(main())
