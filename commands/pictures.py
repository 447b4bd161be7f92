"""pictures: a plan drawn as SVG, with how far each step is. Built as a tree, so that whatever a title says stays text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from countersign.shapes import Node, shape_of
from store.journals import StepRow

from .stepmarks import Mark, marks_of

WIDE: Final = 240
HIGH: Final = 34
GAP: Final = 18
IN_A_ROW: Final = 4
MOST_DRAWN: Final = 300
_LETTERS: Final = 34
_FILLS: Final = {
    Mark.open: "#ffffff",
    Mark.left_out: "#f3f4f6",
    Mark.calling: "#dbeafe",
    Mark.waiting: "#fef3c7",
    Mark.done: "#dcfce7",
    Mark.failed: "#fee2e2",
    Mark.undone: "#ede9fe",
}


@dataclass
class Box:
    """Something drawn, `width` by `height` in pixels, from its upper left corner."""

    width: int
    height: int
    parts: list[tuple[int, int, Element]]

    def at(self, x: int, y: int) -> list[tuple[int, int, Element]]:
        return [(x + left, y + top, one) for left, top, one in self.parts]


def picture_of(plan: Mapping[str, Any], rows: Sequence[StepRow]) -> str:
    """The SVG of a stored plan; `rows` are the journal of the revision it belongs to. A long plan is drawn as far as 300 steps."""
    steps: Sequence[Mapping[str, Any]] = plan.get("steps") or ()
    marks = marks_of(plan, rows)
    shape = shape_of(plan) if steps else []
    box = _Drawing(steps, marks).in_order(shape)
    root = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {box.width + 2 * GAP} {box.height + 2 * GAP}",
            "width": str(box.width + 2 * GAP),
            "height": str(box.height + 2 * GAP),
            "font-family": "system-ui, sans-serif",
            "font-size": "12",
            "role": "img",
        },
    )
    SubElement(root, "title").text = _clean(str(plan.get("summary") or "plan"))
    SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for x, y, one in box.at(GAP, GAP):
        group = SubElement(root, "g", {"transform": f"translate({x} {y})"})
        group.append(one)
    return tostring(root, encoding="unicode")


class _Drawing:
    def __init__(self, steps: Sequence[Mapping[str, Any]], marks: Sequence[Mark]) -> None:
        self._steps, self._marks, self._drawn = steps, marks, 0

    def in_order(self, nodes: Sequence[Node]) -> Box:
        """Each below the one before, joined by lines."""
        boxes: list[Box] = []
        for node in nodes:
            if self._drawn >= MOST_DRAWN:
                boxes.append(_words(f"… {len(self._steps)} steps in all"))
                break
            boxes.append(self._node(node))
        width = max((one.width for one in boxes), default=WIDE)
        parts: list[tuple[int, int, Element]] = []
        y = 0
        for n, one in enumerate(boxes):
            if n:
                parts.append((width // 2, y - GAP, _line(0, 0, 0, GAP)))
            parts += one.at((width - one.width) // 2, y)
            y += one.height + GAP
        return Box(width, max(0, y - GAP), parts)

    def _node(self, node: Node) -> Box:
        if isinstance(node, int):
            return self._step(node)
        if "branch" in node:
            sides = [_words("yes", self._side(node["then"])), _words("no", self._side(node["otherwise"]))]
            return _framed(f"if {node['branch']['title']}", _beside(sides))
        if "parallel" in node:
            several = len(node["parallel"])
            bound = f", {node['at_once']} at once" if node["at_once"] < several else ""
            return _framed(f"{several} in parallel{bound}", _beside([self.in_order([one]) for one in node["parallel"][:MOST_DRAWN]]))
        return self.in_order(node["sequence"])

    def _side(self, node: Node | None) -> Box:
        return _words("nothing") if node is None else self.in_order([node])

    def _step(self, position: int) -> Box:
        self._drawn += 1
        mark, title = self._marks[position], _clean(str(self._steps[position].get("title", "")))
        whole = Element("g")
        SubElement(whole, "title").text = f"{title}: {mark.words}"
        faded = {"stroke-dasharray": "4 3"} if mark is Mark.left_out else {}
        box = {"width": str(WIDE), "height": str(HIGH), "rx": "6", "fill": _FILLS[mark], "stroke": "#6b7280"} | faded
        SubElement(whole, "rect", box)
        SubElement(whole, "text", {"x": "10", "y": str(HIGH // 2 + 4), "fill": "#111827"}).text = f"{mark.sign} {_short(title)}"
        return Box(WIDE, HIGH, [(0, 0, whole)])


def _beside(boxes: Sequence[Box]) -> Box:
    """Beside each other, at most four in a row."""
    parts: list[tuple[int, int, Element]] = []
    width = y = 0
    for start in range(0, len(boxes), IN_A_ROW):
        row, x = boxes[start : start + IN_A_ROW], 0
        for one in row:
            parts += one.at(x, y)
            x += one.width + GAP
        width, y = max(width, x - GAP), y + max(one.height for one in row) + GAP
    return Box(width, max(0, y - GAP), parts)


def _framed(heading: str, inner: Box) -> Box:
    """A frame with its heading around what belongs together."""
    width, height = max(WIDE, inner.width + 2 * GAP), inner.height + 2 * GAP + 12
    frame = Element("g")
    size = {"width": str(width), "height": str(height), "rx": "8", "fill": "none", "stroke": "#9ca3af", "stroke-dasharray": "2 2"}
    SubElement(frame, "rect", size)
    SubElement(frame, "text", {"x": "10", "y": "18", "fill": "#374151"}).text = _short(_clean(heading), width // 7)
    return Box(width, height, [(0, 0, frame), *inner.at((width - inner.width) // 2, GAP + 10)])


def _words(text: str, below: Box | None = None) -> Box:
    words = Element("text", {"x": "4", "y": "14", "fill": "#6b7280"})
    words.text = text
    if below is None:
        return Box(WIDE, 20, [(0, 0, words)])
    return Box(below.width, below.height + 20, [(0, 0, words), *below.at(0, 20)])


def _line(x1: int, y1: int, x2: int, y2: int) -> Element:
    return Element("line", {"x1": str(x1), "y1": str(y1), "x2": str(x2), "y2": str(y2), "stroke": "#9ca3af"})


def _short(text: str, letters: int = _LETTERS) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 has no form for (section 2.2)."""
    return "".join(one for one in text if one in "\t\n\r" or (one >= " " and not "\ud800" <= one <= "\udfff" and one not in "\ufffe\uffff"))
