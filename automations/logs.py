"""Structured logs: one JSON object per line, redacted, no line can be forged by what it quotes."""

import logging
import sys
from typing import Any

import structlog

from .redactions import Redactor, secrets_of_environment


def set_up_logs(form: str, *, role: str) -> None:
    """Sends every log record of this process, libraries' too, to standard error in the wanted form."""
    redactor = Redactor(secrets_of_environment())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _cleaned(redactor, role), last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)


def _cleaned(redactor: Redactor, role: str) -> Any:
    def clean(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        plain = {name: value if isinstance(value, int | float) else str(value) for name, value in event.items()}
        cleaned: dict[str, Any] = redactor.clean_data(plain)
        return cleaned | {"role": role}

    return clean
