"""A collector of traces on loopback: OTLP over HTTP as protocol buffers, kept in memory."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span: ids in hexadecimal digits, times in seconds since 1970; `role` is of the process that sent it."""

    name: str
    trace: str
    id: str
    parent: str
    role: str
    began: float
    ended: float
    attributes: dict[str, Any]
    error: str


@dataclass
class Collector:
    """What was sent to `address`."""

    address: str
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, Seen]:
        """The spans of a trace by name."""
        return {one.name: one for one in self.spans if one.trace == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            collector.bodies.append(body)
            if self.path == "/v1/traces":
                collector.spans += _spans(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(body: bytes) -> Iterator[Seen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        role = _values(resource.resource.attributes).get("countersign.role", "")
        for scope in resource.scope_spans:
            for one in scope.spans:
                ids = one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()
                times = one.start_time_unix_nano / 1e9, one.end_time_unix_nano / 1e9
                yield Seen(one.name, *ids, role, *times, _values(one.attributes), one.status.message)


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
