"""Logs: one line per event, as JSON or text, each with its request's trace; what looks like a secret is masked, controls are inert."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from secrets import token_hex
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_SECRET: Final = re.compile(
    r"cs_(?:api|session|link)_[\w-]+"  # our own tokens
    r"|xox[a-z]-[\w-]+|xapp-[\w-]+"  # Slack's
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password of a URL
    r"|(?i:(?<=bearer )[^\s'\"]+)"
)
# C0 and C1 controls, and what turns the reading direction or breaks a line without being one of them.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_OWN: Final = ("timestamp", "level", "event", "trace")


def configure_logs(form: Literal["json", "text"]) -> None:
    """Sends every logger of this process to standard output in this form; calling it again replaces what was there."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _inert,
            _as_text if form == "text" else _as_json,
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    # It writes whole paths, and a path may hold a one-time link; we log the route instead.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx").setLevel(logging.WARNING)


def new_trace() -> str:
    """A correlation id: 32 hexadecimal digits."""
    return token_hex(16)


def masked(text: str) -> str:
    """The text with everything that looks like a token or a password as dots and every control character escaped."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), _SECRET.sub("••••••", text))


def _inert(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {masked(str(name)): _masked_value(value) for name, value in event.items()}


def _masked_value(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {masked(str(name)): _masked_value(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked_value(one) for one in value]
    return masked(str(value))


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def _as_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in _OWN)
    return f"{event['timestamp']} {event['level']:<7} {event.get('trace', '-')[:8]} {event['event']} {rest}".rstrip()
