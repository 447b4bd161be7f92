"""A plan as a picture: every step is on it with how far it is, and whatever a title says stays text."""

from typing import Any
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from commands.pictures import MOST_DRAWN, picture_of
from countersign.values import REF_KEY
from store.journals import Phase, StepRow, StepState

SVG = "{http://www.w3.org/2000/svg}"
BRANCH = {"branch": {REF_KEY: 0, "path": [], "true": True, "title": "result of look is true"}, "then": 1, "otherwise": {"sequence": [2, 3]}}
SHAPE = [0, BRANCH, {"parallel": [4, 5, 6], "at_once": 2}]


def plan_of(titles: list[str], shape: list[Any] | None = None) -> dict[str, Any]:
    steps = [{"title": one, "undo": None} for one in titles]
    return {"summary": "a plan", "steps": steps, **({"shape": shape} if shape else {})}


def row(position: int, state: StepState, phase: Phase = Phase.do, result: Any = None) -> StepRow:
    return StepRow(position=position, phase=phase.value, state=state.value, error="", result=result)


def told(svg: str) -> list[str]:
    """The words for each box, as a screen reader has them."""
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}title")][1:]  # noqa: S314  our own


def test_each_step_is_drawn_with_how_far_it_is() -> None:
    rows = [
        row(0, StepState.done, result=False),
        row(2, StepState.done),
        row(2, StepState.done, Phase.undo),
        row(3, StepState.failed),
        row(4, StepState.calling),
        row(5, StepState.waiting),
    ]
    svg = picture_of(plan_of(list("abcdefg"), SHAPE), rows)
    assert told(svg) == [
        "a: done",
        "b: left out",
        "c: undone",
        "d: failed",
        "e: under way",
        "f: waits to be begun again",
        "g: not begun",
    ]
    assert "3 in parallel, 2 at once" in svg
    assert "if result of look is true" in svg


@given(
    st.lists(st.text() | st.sampled_from(["</text><script>alert(1)</script>", '"><a href="https://x">', "]]>", "&lt;b&gt;"]), max_size=5)
)
def test_whatever_a_title_says_stays_text(titles: list[str]) -> None:
    root = ElementTree.fromstring(picture_of(plan_of(titles), []))  # noqa: S314  our own
    assert {one.tag.removeprefix(SVG) for one in root.iter()} <= {"svg", "title", "rect", "text", "line", "g"}
    names = {name for one in root.iter() for name in one.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name or name == "style"}


def test_a_long_plan_is_drawn_as_far_as_it_can_be_looked_at() -> None:
    titles = [str(n) for n in range(1_000)]
    assert len(told(picture_of(plan_of(titles), []))) == MOST_DRAWN
    beside = picture_of(plan_of(titles, [{"parallel": list(range(1_000)), "at_once": 5}]), [])
    assert len(told(beside)) == MOST_DRAWN
    assert "… 1000 steps in all" in picture_of(plan_of(titles), [])
