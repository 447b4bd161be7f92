"""A run begins with its first step, unless something has changed since it was looked at."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from automations import agreeing, executing
from automations.agreeing import find_agreement
from kit.bots import Bot, Member
from store import journals
from store.databases import transaction
from tests.automations.carts import traced

CHANGES = {
    "cancelled": ("UPDATE runs SET cancelled_by = 'max' WHERE status = 'queued'", "cancelled"),
    "paused": ("UPDATE runs SET paused_by = 'max' WHERE status = 'queued'", "waiting"),
    "switched": (
        "INSERT INTO switches (id, kind, target, on_by, reason) VALUES (gen_random_uuid(), 'everything', '', 'max', 'x')",
        "running",
    ),
    "not asked by the same": ("INSERT INTO memberships (person, \"group\") VALUES ('ada', 'others')", "succeeded"),
}


async def test_its_only_step_costs_no_statement_of_its_own(crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = journals._first

    async def counted(through: Any, statement: str, values: dict[str, Any]) -> tuple[Any, ...] | None:
        said.append(statement)
        return await first(through, statement, values)

    monkeypatch.setattr(journals, "_first", counted)
    run = await ada.say("course how='once only'")
    assert run.succeeded
    assert said == []
    assert traced(trace) == ["?a", "+a"]


async def test_whom_nobody_was_asked_about_is_not_looked_for_among_the_requests(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(*_: Any) -> None:
        raise AssertionError("there is no request")

    monkeypatch.setattr(agreeing, "find_request", look)
    run = await ada.say("course how='once only'")
    assert run.succeeded


@pytest.mark.parametrize("change", CHANGES)
async def test_what_changes_just_before_stands_in_the_way(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    statement, status = CHANGES[change]

    async def changing(*given: Any, **more: Any) -> Any:
        found = await find_agreement(*given, **more)
        async with transaction(crew.owner) as session:
            await session.execute(text(statement))
        monkeypatch.undo()
        return found

    monkeypatch.setattr(executing, "find_agreement", changing)
    run = await ada.say("course how='once only'")
    try:
        assert run.status == status
        assert traced(trace) == (["?a", "+a"] if status == "succeeded" else [])
    finally:
        async with transaction(crew.owner) as session:
            await session.execute(text("DELETE FROM switches"))
            await session.execute(text("UPDATE runs SET due_at = NULL WHERE status NOT IN ('succeeded', 'cancelled')"))
