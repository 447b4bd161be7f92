"""Reading a page as a browser does, for what must not be on it."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_TAGS = """
a article body br button code datalist dd details div dl dt figcaption figure footer form h1 h2 h3 head header html img input kbd label li
link main meta nav ol option p pre rect script section select small span strong summary svg table tbody td textarea th thead time title tr
ul
"""
TAGS = frozenset(_TAGS.split())


class Page(HTMLParser):
    """The tags, attributes and text of a page; `wrong` lists everything that could run or load anything that is not ours."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.text = ""
        self.values: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attributes:
            self.values.append(value or "")
            if name.startswith("on") or name in ("style", "srcdoc", "formaction"):
                self.wrong.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action") and not (value or "").startswith(("/", "#")):
                self.wrong.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and data.strip() and "<script" in (self.get_starttag_text() or "").lower():
            self.wrong.append(f"inline script {data[:40]}")
        self.text += data


@dataclass
class Form:
    """A form as it was found: what it would send if nobody touched it, which of its fields are written into, and its buttons."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    buttons: set[tuple[str, str]] = field(default_factory=set)

    @property
    def kind(self) -> tuple[str, ...]:
        """What tells one form from another of its kind on another row or card."""
        told = ("command", "intent", "which")
        return (self.method, self.action, *(self.fields.get(name, "") for name in told), *sorted(self.written))

    def filled(self, words: str) -> dict[str, str]:
        """Sent with these words in every field that somebody writes into."""
        return self.fields | dict.fromkeys(self.written, words)


class Forms(HTMLParser):
    """The forms of a page at an address."""

    def __init__(self, html: str, address: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._address, self._select = address, ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.found.append(Form(given.get("method", "get"), given.get("action", self._address)))
        elif self.found and given.get("name"):
            self._field(self.found[-1], tag, given)
        elif self.found and tag == "option" and self._select:
            self.found[-1].fields.setdefault(self._select, given.get("value", ""))

    def _field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, kind = given["name"], given.get("type", "text")
        if tag == "button":
            form.buttons.add((name, given.get("value", "")))
        elif tag == "select":
            self._select = name
        elif tag in ("input", "textarea"):
            form.fields[name] = given.get("value", "")
            if kind != "hidden":
                form.written.add(name)

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
