"""The settings in force and where each came from. Secrets are dots, and of a database's address only where it is."""

import os
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from bot.api.stories import DOTS
from store.settings import PREFIX, Settings

from .panes import Cell, Pane

_ADDRESSES: Final = ("database_url", "migrate_database_url", "listen_database_url")


def settings_pane(settings: Settings) -> Pane:
    """Every setting of this process, by the variable that sets it."""
    rows = []
    for name, about in type(settings).model_fields.items():
        value, variable = getattr(settings, name), f"{PREFIX}{name.upper()}"
        words = shown(name, value)
        given = variable in os.environ
        source = "environment" if given else "default" if value == about.default else "given at start"
        rows.append((Cell(variable, code=True), Cell(words, code=True) if words else Cell("not set"), source))
    return Pane("Settings in force", ("Variable", "Value", "Comes from"), rows, aside="Of this web process; workers have their own.")


def shown(name: str, value: Any) -> str:
    """A setting as a page may show it."""
    if isinstance(value, SecretStr):
        return DOTS if value.get_secret_value() else ""
    return _place(value) if name in _ADDRESSES and value else "" if value is None else str(value)


def _place(address: str) -> str:
    """Host and database alone: names, passwords and options may all be secrets."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return DOTS
    return f"{DOTS}@{host}{f':{port}' if port else ''}{parts.path}"
