"""A run's last step and the run itself end at once, or neither does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from automations import settling
from kit.bots import Bot, Member
from store.beginnings import end_runs
from store.databases import reading, transaction
from store.journals import find_steps
from store.runs import search_runs
from tests.automations.carts import traced

# Rows that the same transaction wrote last have its number.
_TOGETHER = text("SELECT count(*) FROM runs r JOIN steps s ON s.run_id = r.id AND s.xmin = r.xmin WHERE r.id = :id AND s.position >= 0")


@pytest.mark.parametrize("how", ["once only", "slowly", "beside"])
async def test_they_end_in_one_transaction_and_the_record_has_both_in_their_order(crew: Bot, ada: Member, how: str) -> None:
    run = await ada.say(f"course how='{how}'")
    assert run.succeeded
    assert run.trail[-2:] == ["step:done", "run:succeeded"]
    async with reading(crew.services.engine) as session:
        steps = await find_steps(session, run.id, revision=1)
        assert {one.state for one in steps} == {"done"}
        assert run.trail.count("step:done") == len(steps)
        assert (await session.execute(_TOGETHER, {"id": run.id})).scalar_one() == 1


@pytest.mark.parametrize(
    ("meanwhile", "state"),
    [
        ("UPDATE runs SET lease_until = countersign_now(), attempt = attempt + 1 WHERE status = 'running'", "calling"),
        ("UPDATE runs SET cancelled_by = 'max' WHERE status = 'running'", "done"),
    ],
)
async def test_who_has_lost_the_claim_ends_neither_and_a_cancel_comes_too_late(
    crew: Bot, ada: Member, trace: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str, state: str
) -> None:
    """The change holds the run's row as its worker ends it."""

    async def ending(*given: Any, **more: Any) -> Any:
        async with transaction(crew.owner) as session:
            await session.execute(text(meanwhile))
            end = asyncio.ensure_future(end_runs(*given, **more))
            assert await asyncio.wait([end], timeout=0.2) == (set(), {end})
        return await end

    monkeypatch.setattr(settling, "end_runs", ending)
    saying = asyncio.create_task(ada.say("course how='once only'"))
    if state == "calling":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.0):
                await saying
    else:
        assert (await saying).succeeded
    async with reading(crew.services.engine) as session:
        (run,) = await search_runs(session, asker="ada", command="course", limit=1)
        (step,) = await find_steps(session, run.id, revision=1)
    assert (run.status, step.state) == ("running" if state == "calling" else "succeeded", state)
    assert traced(trace) == ["?a", "+a"]
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE runs SET due_at = NULL WHERE id = :id"), {"id": run.id})


async def test_a_branch_without_steps_and_without_an_answer_comes_behind_it(crew: Bot, ada: Member, trace: Path) -> None:
    run = await ada.say("course how='odd and empty'")
    assert run.status == "rolled_back"
    assert traced(trace) == ["+a", "-a"]
