"""drawing: charts as a PNG, light whatever the reader's theme, with letters that can still be read as wide as a phone."""

import io
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from countersign.replies import Bar, Chart, Picture, Tone
from integrations.slack.texts import cleaned

WIDE: Final = 1200
EDGE: Final = 56
MOST_BARS: Final = 20
LETTERS: Final = 36
_ROW: Final = 62
_BAR: Final = 34
_GAP: Final = 24
_LABELS: Final = 380
_TOLD: Final = 420
_INK: Final = "#1b2326"
_QUIET: Final = "#58656a"
_SUNK: Final = "#eef1f0"
COLOURS: Final = {Tone.neutral: "#8e9a9e", Tone.waiting: "#c98a12", Tone.busy: "#245a70", Tone.good: "#1f7a4d", Tone.bad: "#b3362b"}


class _Sheet:
    """What is written from the top down, on `high` pixels; `y` is where the next line begins."""

    def __init__(self, picture: Picture, high: int) -> None:
        self.image = Image.new("RGB", (WIDE, high), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.y = EDGE - 8
        shown = [bar for chart in picture.charts for bar in chart.bars[:MOST_BARS]]
        self.left = EDGE + _widest((one.label for one in shown), _LABELS) + _GAP
        self.right = WIDE - EDGE - _widest((one.told for one in shown), _TOLD) - _GAP
        self._fill(picture)

    def _fill(self, picture: Picture) -> None:
        self._line(picture.title, 60, bold=True)
        self._line(picture.aside, 34, colour=_QUIET)
        for one in picture.charts:
            self._chart(one)
        self.y += EDGE

    def _chart(self, chart: Chart) -> None:
        self.y += 34
        self._line(chart.title, 42, bold=True)
        self._line(chart.aside, 32, colour=_QUIET)
        self.y += 6
        if not chart.bars:
            self._line(chart.nothing, LETTERS, colour=_QUIET)
            return
        self._legend(chart)
        for bar in chart.bars[:MOST_BARS]:
            self._bar(chart, bar)
        if len(chart.bars) > MOST_BARS:
            self._line(f"and {len(chart.bars) - MOST_BARS} more", 32, colour=_QUIET)

    def _line(self, text: str, size: int, *, colour: str = _INK, bold: bool = False) -> None:
        if text:
            font = _font(size, bold=bold)
            self.draw.text((EDGE, self.y), _fitting(text, font, WIDE - 2 * EDGE), fill=colour, font=font)
            self.y += round(1.4 * size)

    def _legend(self, chart: Chart) -> None:
        if len(chart.named) < 2:
            return
        font, x = _font(32), EDGE
        for part in chart.named:
            self.draw.rectangle((x, self.y + 10, x + 27, self.y + 37), fill=COLOURS[part.tone])
            self.draw.text((x + 40, self.y), one_line(part.name), fill=_QUIET, font=font)
            x += 84 + round(font.getlength(one_line(part.name)))
        self.y += 58

    def _bar(self, chart: Chart, bar: Bar) -> None:
        """Its label on the left, what is told on the right, and between them as much as it is on the scale of its chart."""
        font, middle = _font(LETTERS), self.y + _ROW // 2
        self.draw.text((EDGE, middle), _fitting(bar.label, font, _LABELS), fill=_INK, font=font, anchor="lm")
        self.draw.text((WIDE - EDGE, middle), _fitting(bar.told, font, _TOLD), fill=_INK, font=font, anchor="rm")
        top, bottom = middle - _BAR // 2, middle + _BAR // 2 - 1
        self.draw.rectangle((self.left, top, self.right - 1, bottom), fill=_SUNK)
        for tone, begin, end in chart.pieces(bar):
            first, last = (self.left + round((self.right - self.left) * one) for one in (begin, end))
            self.draw.rectangle((first, top, max(first, last - 1), bottom), fill=COLOURS[tone])
        self.y += _ROW


def png_of(picture: Picture) -> bytes:
    """The picture as a PNG of `WIDE` pixels, as high as it takes. Letters that the font has not are boxes."""
    high = _Sheet(picture, 1).y
    out = io.BytesIO()
    _Sheet(picture, high).image.save(out, "PNG")
    return out.getvalue()


@cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "OpenSans-SemiBold" if bold else "OpenSans-Regular"
    return ImageFont.truetype(io.BytesIO(files("ttf_opensans").joinpath("ttf", f"{name}.ttf").read_bytes()), size)


def _widest(texts: Iterable[str], most: int) -> int:
    font = _font(LETTERS)
    return round(max((font.getlength(_fitting(one, font, most)) for one in texts), default=0.0))


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """As much of the text as has room, with an ellipsis where there is more."""
    text = one_line(text)
    if font.getlength(text) <= width:
        return text
    room = bisect_right(range(len(text)), width, key=lambda letters: ceil(font.getlength(f"{text[:letters]}…")))
    return f"{text[: max(0, room - 1)]}…"


def one_line(text: str) -> str:
    """As one line of a bounded length, without what hides or forges."""
    return cleaned(text).replace("\n", " ")[:300]
