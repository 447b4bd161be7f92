"""Spans as OpenTelemetry makes and sends them, by OTLP over HTTP. Loaded by `traces` alone, and only when a collector is named."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Thread
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
    use_span,
)

from .traces import Attribute

END_SECONDS: Final = 3.0
_LOW: Final = (1 << 64) - 1
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_KINDS: Final = {"internal": SpanKind.INTERNAL, "consumer": SpanKind.CONSUMER, "client": SpanKind.CLIENT}
_WANTED: Final[ContextVar[int]] = ContextVar("wanted", default=0)


class _Ids(RandomIdGenerator):
    """Ids by chance, but for a request's own span, whose ids its trace says."""

    def generate_trace_id(self) -> int:
        return _WANTED.get() or super().generate_trace_id()

    def generate_span_id(self) -> int:
        return _WANTED.get() & _LOW or super().generate_span_id()


class Spans:
    """The tracer of this process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("countersign")

    @contextmanager
    def request(self, trace: str, name: str) -> Iterator[None]:
        token = _WANTED.set(_number(trace))
        try:
            span = self._tracer.start_span(name, context=Context(), kind=SpanKind.SERVER)
        finally:
            _WANTED.reset(token)
        with _opened(span):
            yield

    @contextmanager
    def span(self, name: str, trace: str, kind: str, attributes: Mapping[str, Attribute]) -> Iterator[None]:
        context = self._context(trace) if trace else None
        if context is None and not get_current_span().get_span_context().is_valid:
            yield
            return
        with _opened(self._tracer.start_span(name, context=context, kind=_KINDS[kind], attributes=_ours(attributes))):
            yield

    def past(self, name: str, trace: str, *, began: int, ended: int, attributes: Mapping[str, Attribute]) -> None:
        span = self._tracer.start_span(name, context=self._context(trace), start_time=began, attributes=_ours(attributes))
        span.end(end_time=ended)

    def tell(self, name: str, attributes: Mapping[str, Attribute]) -> None:
        span = get_current_span()
        span.set_attributes(_ours(attributes))
        if name:
            span.update_name(name)

    def end(self) -> None:
        # A collector that does not answer must not keep a process from ending.
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(END_SECONDS)

    def _context(self, trace: str) -> Context:
        """Beneath the span that is open here if it is of this trace, else beneath the request's, which another process has made."""
        here, number = get_current_span(), _number(trace)
        if here.get_span_context().trace_id == number:
            return set_span_in_context(here, Context())
        sampled = self._provider.sampler.should_sample(Context(), number, "request").decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return set_span_in_context(NonRecordingSpan(SpanContext(number, number & _LOW, is_remote=True, trace_flags=flags)), Context())


def open_tracer(endpoint: str, role: str) -> Spans:
    """Sends to this base address, or where OpenTelemetry's own variables say when it is empty; they say everything else too."""
    own = Resource({"service.name": "countersign", "countersign.role": role})
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), id_generator=_Ids(), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces") if endpoint else OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider)


@contextmanager
def _opened(span: Span) -> Iterator[None]:
    """An error leaves its type and never its words, which may hold anything."""
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def _number(trace: str) -> int:
    """A trace as the 16 bytes of a trace id; what is no such number, as a request from elsewhere may bring, is made into one."""
    return int(trace, 16) if _HEX.fullmatch(trace) else int.from_bytes(hashlib.blake2b(trace.encode(), digest_size=16).digest())


def _ours(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"countersign.{name}": value for name, value in attributes.items()}
