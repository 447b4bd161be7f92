#!/usr/bin/env python3
"""Writes the pages that say what code says. Run it after changing the code: `python docs/generate.py`."""

from collections.abc import Iterator
from pathlib import Path

from countersign.runs import BIRTHS, FINISHED, MOVES, RunStatus

_OPENING = """# The life of a run

Every run is in exactly one of these states, and only the moves below are possible. This page is written by `docs/generate.py`
from `countersign/runs.py`; a test compares the two.

A run is born {births}. It has ended when it is {ended}; an ended run never moves again. Whatever has not ended can be
cancelled; those arrows are left out of the drawing.
"""


def main() -> None:
    page = Path(__file__).parent / "authors" / "runs.md"
    page.write_text(runs_page(), encoding="utf-8")


def runs_page() -> str:
    """The whole page as Markdown: an opening, a Mermaid state diagram and the table of moves."""
    opening = _OPENING.format(births=_listed(BIRTHS), ended=_listed(FINISHED))
    return "\n".join([opening, "```mermaid", *_diagram(), "```", "", *_table()]) + "\n"


def _diagram() -> Iterator[str]:
    yield "stateDiagram-v2"
    for status in RunStatus:
        if status in BIRTHS:
            yield f"    [*] --> {status}"
        for to in _ordered(MOVES[status] - {RunStatus.cancelled}):
            yield f"    {status} --> {to}"
        if status in FINISHED:
            yield f"    {status} --> [*]"


def _table() -> Iterator[str]:
    yield "| from | to |"
    yield "|---|---|"
    for status in RunStatus:
        moves = ", ".join(f"`{to}`" for to in _ordered(MOVES[status]))
        yield f"| `{status}` | {moves or 'nothing: it has ended'} |"


def _listed(statuses: frozenset[RunStatus]) -> str:
    *names, last = [f"`{status}`" for status in _ordered(statuses)]
    return f"{', '.join(names)} or {last}"


def _ordered(statuses: frozenset[RunStatus]) -> list[RunStatus]:
    return [status for status in RunStatus if status in statuses]


if __name__ == "__main__":
    main()
