"""What changed between the plan that was approved and the one that would run now, in lines for people."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """At least one line, for two plans with different digests."""
    return different_lines(old, new) or ["the command's code or arguments"]


def different_lines(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What is different: facts watched first, then steps, then whatever else people see; none when it is the same."""
    lines = [
        f"{name}: {_value(before)} → {_value(after)}"
        for name in sorted({*old.get("watched", {}), *new.get("watched", {})})
        if (before := old.get("watched", {}).get(name)) != (after := new.get("watched", {}).get(name))
    ]
    for before, after in zip_longest(old.get("steps", []), new.get("steps", [])):
        if before != after:
            lines.append(_step(before, after))
    if old.get("shape") != new.get("shape"):
        lines.append("the order of the steps or a branch changed")
    if old.get("summary") != new.get("summary") and new.get("summary"):
        lines.append(f"now: {new['summary']}")
    return lines


def _step(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    if before is None or after is None:
        return f"removed: {before['title']}" if before else f"added: {after['title']}" if after else ""
    if before["title"] != after["title"]:
        return f"{before['title']} → {after['title']}"
    undo = [(one.get("undo") or {}).get("title", "cannot be undone") for one in (before, after)]
    return f"{after['title']}: undo {undo[0]} → {undo[1]}" if undo[0] != undo[1] else f"{after['title']}: its options changed"


def _value(value: Any) -> str:
    return "nothing" if value is None else (", ".join(map(str, value)) if isinstance(value, list) else str(value))[:80]
