"""Reading a page as a browser does, for what must not be on it."""

from html.parser import HTMLParser

_TAGS = """
a article body br button code datalist dd details div dl dt footer form h1 h2 h3 head header html img input kbd label li link main meta nav
ol option p pre rect script section select small span strong summary svg table tbody td textarea th thead time title tr ul
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
