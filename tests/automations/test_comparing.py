"""What changed between two plans, in lines for people."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.comparing import differences, different_lines


def one(title: str, undo: str | None = None, **more: Any) -> dict[str, Any]:
    return {"title": title, "undo": {"title": undo} if undo else None, "timeout": "1m"} | more


def plan(*steps: dict[str, Any], summary: str = "s", **watched: Any) -> dict[str, Any]:
    return {"summary": summary, "steps": list(steps), "watched": watched}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (plan(current="v1"), plan(current="v3"), ["current: v1 → v3"]),
        (plan(), plan(current="v3"), ["current: nothing → v3"]),
        (plan(a=1, b=2), plan(b=3), ["a: 1 → nothing", "b: 2 → 3"]),
        (plan(one("move(v1)")), plan(one("move(v2)")), ["move(v1) → move(v2)"]),
        (plan(one("a")), plan(one("a"), one("b")), ["added: b"]),
        (plan(one("a"), one("b")), plan(one("a")), ["removed: b"]),
        (plan(one("a", "undo v1")), plan(one("a", "undo v3")), ["a: undo undo v1 → undo v3"]),
        (plan(one("a", "u")), plan(one("a")), ["a: undo u → cannot be undone"]),
        (plan(one("a")), plan(one("a", timeout="2m")), ["a: its options changed"]),
        (plan(current="v1", summary="v1 → v2"), plan(current="v3", summary="v3 → v2"), ["current: v1 → v3", "now: v3 → v2"]),
        (plan(), plan(), ["the command's code or arguments"]),
        ({}, plan(current=None), ["now: s"]),
    ],
)
def test_the_difference_is_told(old: dict[str, Any], new: dict[str, Any], lines: list[str]) -> None:
    assert differences(old, new) == lines


STEPS = st.builds(one, st.text(max_size=5), st.none() | st.text(min_size=1, max_size=3))
PLANS = st.builds(
    lambda steps, watched: plan(*steps, **watched), st.lists(STEPS, max_size=4), st.dictionaries(st.text(max_size=3), st.integers())
)


@given(PLANS, PLANS)
def test_something_is_always_said(old: dict[str, Any], new: dict[str, Any]) -> None:
    lines = differences(old, new)
    assert lines
    assert all(isinstance(line, str) for line in lines)


def test_two_plans_that_look_the_same_differ_in_nothing_that_people_see() -> None:
    assert different_lines(plan(one("a")), plan(one("a"))) == []
    assert differences(plan(one("a")), plan(one("a"))) == ["the command's code or arguments"]
