"""The two programs that check files offline share no code, with the hub or with each other: what both say about erasures is the same."""

from types import ModuleType
from typing import Any

import pytest

from store import verify_evidence, verify_export

DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US
RUN = "run-1"
GONE = ["event-1"]


def erasing(command: str = "people erase", *, begun: int = NOW_US - 2) -> list[dict[str, Any]]:
    at = {"run": RUN, "actor": "max", "at": "2026-11-30T03:00:00Z"}
    return [
        {**at, "kind": "run:submitted", "at_us": NOW_US - 3, "detail": {"command": command}},
        {**at, "kind": "run:running", "at_us": begun, "detail": {}},
    ]


def said(detail: dict[str, Any], *, run: str | None = None) -> dict[str, Any]:
    return {"kind": "payload:erased", "run": run, "actor": "max", "at": "2026-11-30T03:00:00Z", "at_us": NOW_US, "detail": detail}


@pytest.mark.parametrize("program", [verify_evidence, verify_export], ids=["evidence", "export"])
@pytest.mark.parametrize(
    ("proofs", "before"),
    [
        ([*erasing(), said({"events": GONE}, run=RUN)], NOW_US),
        ([said({"events": GONE, "days": 30})], NOW_US - 30 * DAY_US),
        ([said({"events": GONE, "days": 730})], NOW_US - 730 * DAY_US),
        *(([said({"events": GONE, "days": days})], None) for days in (29, 1, 0, -40, 30.5, True, "30", [30])),
        *(([*erasing(), said({"events": GONE, "days": days}, run=RUN)], None) for days in (29, 0, -40)),
        ([said({"events": GONE}, run=RUN)], None),
        ([said({"events": GONE})], None),
        ([*erasing("grant"), said({"events": GONE}, run=RUN)], None),
        ([*erasing(begun=NOW_US), said({"events": GONE}, run=RUN)], None),
        ([said({"days": 30})], None),
        ([said({"events": "event-1", "days": 30})], None),
        ([said({"events": [["event-1"]], "days": 30})], None),
        ([said({"events": GONE, "days": 30}) | {"kind": "audit:read"}], None),
    ],
)
def test_what_counts_as_an_erasure(program: ModuleType, proofs: list[dict[str, Any]], before: int | None) -> None:
    found = program._erased(proofs).get("event-1")
    assert (found and found[0]) == before
