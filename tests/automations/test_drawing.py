"""A picture as a PNG: bars are as long as their figures say, what has no room is cut, and whatever a label says, it is drawn."""

import io
import re

from PIL import Image, ImageColor

from automations.drawing import COLOURS, EDGE, MOST_BARS, WIDE, one_line, png_of
from countersign import Bar, Chart, Part, Picture, Tone
from tests.rules.measures import ROOT, measured_files

PARTS = (Part(name="good", tone=Tone.good), Part(name="bad", tone=Tone.bad), Part(name="other", tone=Tone.neutral))


def drawn(*charts: Chart) -> Image.Image:
    image = Image.open(io.BytesIO(png_of(Picture(title="A week", aside="until Monday", charts=charts))))
    assert (image.format, image.mode, image.width) == ("PNG", "RGB", WIDE)
    return image


def lengths(image: Image.Image, tone: Tone) -> list[int]:
    """How many pixels of this colour stand beside each other in each bar that has any, from the top down."""
    colour, found = ImageColor.getrgb(COLOURS[tone]), []
    for y in range(image.height):
        row = image.crop((0, y, WIDE, y + 1))
        found.append(sum(count for count, one in row.getcolors(WIDE) or [] if one == colour))
    changes = [one for before, one in zip([0, *found], found, strict=False) if one != before]
    return [one for one in changes if one > 40]


def test_a_bar_is_as_long_as_its_figure_says() -> None:
    bars = tuple(Bar(label=f"command {n}", values=(value,), told=f"{value} h") for n, value in enumerate((40, 20, 10, 0)))
    whole, half, quarter = lengths(drawn(Chart(title="Time saved", bars=bars)), Tone.busy)
    assert whole > WIDE / 3
    assert (abs(whole - 2 * half) <= 2, abs(whole - 4 * quarter) <= 4) == (True, True)


def test_parts_stand_beside_each_other_and_charts_on_one_line() -> None:
    bars = (Bar(label="deploy", values=(6, 3, 1), told="10, 3 failed"), Bar(label="grant", values=(0, 5, 0), told="5, 5 failed"))
    image = drawn(Chart(title="Runs", parts=PARTS, bars=bars), Chart(title="Time", bars=(Bar(label="a", values=(1,), told="1m"),)))
    (good,), bad, (other,), (whole,) = (lengths(image, one) for one in (Tone.good, Tone.bad, Tone.neutral, Tone.busy))
    assert [round(10 * one / whole) for one in (good, *bad, other)] == [6, 3, 5, 1]
    assert good + bad[0] + other == whole


def test_nothing_is_said_where_there_is_nothing_and_what_is_too_much_is_counted() -> None:
    empty = drawn(Chart(title="Runs by command", nothing="Nothing was asked for."))
    assert not any(lengths(empty, one) for one in Tone)
    assert empty.crop((EDGE, EDGE, WIDE, empty.height - EDGE)).getextrema() != ((255, 255),) * 3
    bars = tuple(Bar(label=str(n), values=(1,), told="1") for n in range(MOST_BARS + 5))
    cut, full = drawn(Chart(title="a", bars=bars)), drawn(Chart(title="a", bars=bars[:MOST_BARS]))
    assert full.height < cut.height < full.height + 60


def test_what_is_written_stays_on_the_sheet() -> None:
    long = "database " * 40
    image = drawn(Chart(title=long, aside=long, nothing=long), Chart(title=long, bars=(Bar(label=long, values=(1,), told=long),)))
    assert image.crop((WIDE - EDGE + 2, 0, WIDE, image.height)).getextrema() == ((255, 255),) * 3
    assert lengths(image, Tone.busy), "there is room for the bar itself"
    assert "\n" not in one_line("a\nb\u202e")


def test_whatever_it_says_it_is_drawn() -> None:
    words = (
        "",
        "\x00",
        "a\r\nb",
        "\u202ebad",
        "\ud800",
        "e\u0301" * 400,
        "\u65e5\u672c",
        "\U0001f642",
        "\u0628\u064a\u062a",
        "Zo\u00eb \u0416\u0384",
    )
    bars = tuple(Bar(label=one, values=(value,), told=one) for one, value in zip(words, (1e15, 1e-300, *range(8)), strict=True))
    assert lengths(drawn(*(Chart(title=one, aside=one, bars=bars[:1]) for one in words[:9]), Chart(title="", bars=bars)), Tone.busy)


def test_no_process_loads_the_library_before_there_is_a_picture() -> None:
    loading = re.compile(r"^(?:from|import) (?:PIL|automations\.drawing|\.drawing)\b", re.MULTILINE)
    assert [str(one) for one in measured_files() if loading.search((ROOT / one).read_text())] == ["automations/drawing.py"]
