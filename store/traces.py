"""Traces: the spans of what becomes of one request, from its door to its steps and messages.

Off unless a collector is named; then nothing is loaded, and nothing is made. A run's row has the whole context that others continue: its
`trace` is the trace id, and the last half of that is the id of the request's own span (W3C Trace Context has 16 and 8 bytes for them).
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pkgutil import resolve_name
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import text

from .databases import ReadSession
from .settings import Settings

Attribute = str | int | float | bool
STANDARD: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


class Tracer(Protocol):
    """Makes the spans; times are nanoseconds since 1970."""

    def request(self, trace: str, name: str) -> AbstractContextManager[None]: ...

    def span(self, name: str, trace: str, kind: str, attributes: Mapping[str, Attribute]) -> AbstractContextManager[None]: ...

    def past(self, name: str, trace: str, *, began: int, ended: int, attributes: Mapping[str, Attribute]) -> None: ...

    def tell(self, name: str, attributes: Mapping[str, Attribute]) -> None: ...

    def end(self) -> None: ...


class _Tracing:
    tracer: Tracer | None = None


def is_wanted(settings: Settings) -> bool:
    """Whether a collector is named: by our own setting, or by one of OpenTelemetry's, which its other variables may silence."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER", "").lower() == "none":
        return False
    return bool(settings.otlp_endpoint) or any(os.environ.get(name) for name in STANDARD)


def begin(settings: Settings, *, role: str) -> None:
    """Begins to send spans, if a collector is named; to be called once in a process, after it was forked."""
    if is_wanted(settings) and _Tracing.tracer is None:
        # By its name, because importing OpenTelemetry costs a tenth of a CPU-second that nobody without a collector should pay.
        _Tracing.tracer = resolve_name("store.spans:open_tracer")(settings.otlp_endpoint, role)


def end() -> None:
    """Sends what is left, for at most three seconds."""
    tracer, _Tracing.tracer = _Tracing.tracer, None
    if tracer is not None:
        tracer.end()


def is_on() -> bool:
    return _Tracing.tracer is not None


def request(trace: str, name: str) -> AbstractContextManager[None]:
    """The span of a whole request, which every other one of the trace is beneath."""
    tracer = _Tracing.tracer
    return _NOTHING if tracer is None or not trace else tracer.request(trace, name)


def span(name: str, trace: str, kind: str = "internal", /, **attributes: Attribute) -> AbstractContextManager[None]:
    """A span of this trace, beneath the one that is open here, or else beneath the request's.

    Without a trace it is beneath what is open here, or there is none. `kind`: internal, consumer or client. Attributes are names and
    numbers: never arguments, texts or what people typed.
    """
    tracer = _Tracing.tracer
    return _NOTHING if tracer is None else tracer.span(name, trace, kind, attributes)


def past(name: str, trace: str, /, *, began: float, ended: float, **attributes: Attribute) -> None:
    """A span that is over; times are seconds since 1970."""
    tracer = _Tracing.tracer
    if tracer is not None and trace:
        tracer.past(name, trace, began=int(began * 1e9), ended=int(max(began, ended) * 1e9), attributes=attributes)


def tell(name: str = "", /, **attributes: Attribute) -> None:
    """Says more of the span that is open here, or gives it another name."""
    tracer = _Tracing.tracer
    if tracer is not None:
        tracer.tell(name, attributes)


async def find_traces(session: ReadSession, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The traces of these runs."""
    rows = await session.execute(text("SELECT id, trace FROM runs WHERE id = ANY(:ids)"), {"ids": list(ids)})
    return {row.id: row.trace for row in rows}
