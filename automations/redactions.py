"""The one place where secrets are taken out of text, before it is cut, stored, logged or shown."""

import base64
import json
import os
import re
import traceback
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, quote_plus

DOTS: Final = "••••••"
_NAMED_SECRET = re.compile(r"(?i)token|secret|password|passwd|api_?key|credential|private_key|_key\b|DATABASE_URL|REDIS_URL")
_SHORTEST: Final = 4
_URL_SAFE: Final = str.maketrans("+/", "-_")


class Redactor:
    """Knows values and everything they look like when encoded; `clean` replaces them all."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._values: set[str] = set()
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Knows these too from now on."""
        if new := {*values} - self._values:
            self._values |= new
            forms = {form for value in self._values for form in _forms(value) if len(form) >= _SHORTEST}
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def clean(self, text: str) -> str:
        return self._pattern.sub(DOTS, text) if self._pattern else text

    def clean_error(self, error: BaseException) -> str:
        """The error's traceback for a log: what was raised may quote anything."""
        return self.clean("".join(traceback.format_exception(error)))

    def clean_data(self, data: Any) -> Any:
        """JSON data with every text in it cleaned, keys too."""
        if isinstance(data, str):
            return self.clean(data)
        if isinstance(data, dict):
            return {self.clean(str(name)): self.clean_data(value) for name, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.clean_data(one) for one in data]
        return data


def secrets_of_environment() -> list[str]:
    """Values of variables whose names say they are secret."""
    return [value for name, value in os.environ.items() if _NAMED_SECRET.search(name) and len(value) >= _SHORTEST]


def _forms(value: str) -> Iterable[str]:
    """The value itself and how it looks in URLs, JSON, Python, base64 and hexadecimal digits; multi-line values also line by line."""
    raw = value.encode()
    yield value
    yield from (quote(value, safe=""), quote(value))
    yield quote_plus(value)
    yield value.encode("unicode_escape").decode()
    yield from (json.dumps(value, ensure_ascii=one)[1:-1] for one in (True, False))
    yield from (repr(one).lstrip("b")[1:-1] for one in (value, raw))
    yield raw.hex()
    for skipped in range(3):  # base64 of the value inside a longer text depends on where it starts
        encoded = base64.b64encode(b"\0" * skipped + raw).decode().rstrip("=")
        form = encoded[(0, 2, 3)[skipped] : -1 if len(raw) > 3 else None]
        yield from (form, form.translate(_URL_SAFE))
    if "\n" in value:
        yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= 8)
