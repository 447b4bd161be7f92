"""Service levels of approvals: counted once for each request that has ended, and the same whichever process is asked."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from automations.housekeeping.sweeping import count_all
from bot.levels import levels_text
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.approvals import reopen_request
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.levels import count_ended
from tests.automations.carts import write_cart
from tests.bot.webs import web_of
from tests.hubs import World

SRE = {"command": "cart", "group": "sre"}


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts; Lin and Kim are engineers, Max may approve carts."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.cast("lin", "kim", may=["countersign:use"])
        bot.cast("max", may=["cart:approve"])
        bot.policy(people={"lin": {"groups": ["sre"]}, "kim": {"groups": ["sre"]}})
        yield bot


async def asked(crew: Bot, **approve: Any) -> RunHandle:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": approve}])
    return await Member(crew, "ada").say("/cart gone")


async def figures(crew: Bot) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    await count_all(crew.services)
    told = (await levels_text(crew.hub)).decode()
    samples = (one for family in text_string_to_metric_families(told) for one in family.samples)
    return {(one.name.removeprefix("countersign_"), tuple(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


async def test_times_to_the_first_vote_and_to_the_decision_are_counted_by_command_and_group(crew: Bot) -> None:
    lin, kim, max_ = (Member(crew, name) for name in ("lin", "kim", "max"))
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}])
    await crew.later("40s")
    await lin.approve(run)
    await crew.later("3m")
    await kim.approve(run)
    quick = await asked(crew, by="cart:approve")
    await max_.deny(quick, reason="not today")
    found = await figures(crew)
    votes = {bound: found["approval_first_vote_seconds_bucket", ("cart", "sre", bound)] for bound in ("30.0", "60.0", "+Inf")}
    assert votes == {"30.0": 0, "60.0": 1, "+Inf": 1}
    assert 40 <= found["approval_first_vote_seconds_sum", ("cart", "sre")] < 60
    decisions = {bound: found["approval_decision_seconds_bucket", ("cart", "sre", bound)] for bound in ("120.0", "300.0")}
    assert decisions == {"120.0": 0, "300.0": 1}
    assert found["approval_decision_seconds_bucket", ("cart", "cart:approve", "30.0")] == 1
    assert found["approvals_ended_total", ("cart", "sre", "approved")] == 1
    assert found["approvals_ended_total", ("cart", "cart:approve", "denied")] == 1


async def test_what_expires_is_told_apart_and_has_no_time_to_decision(crew: Bot) -> None:
    await asked(crew, stages=[{"of": "group:sre"}], expires="1h")
    await crew.later("1h")
    found = await figures(crew)
    assert found["approvals_ended_total", ("cart", "sre", "expired")] == 1
    assert not [name for name in found if name[0].startswith("approval_")]


async def test_what_is_open_is_told_with_the_age_of_the_oldest(crew: Bot) -> None:
    await asked(crew, stages=[{"of": "group:sre"}])
    await crew.later("2h")
    await asked(crew, stages=[{"of": "group:sre"}])
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE approval_requests SET audience = NULL WHERE opened_at > now() + interval '1 hour'"))
    told = (await levels_text(crew.hub)).decode()
    found = {one.name: one.value for family in text_string_to_metric_families(told) for one in family.samples if one.labels == SRE}
    assert found["countersign_approvals_open"] == 2
    assert 7_200 <= found["countersign_approvals_oldest_seconds"] < 7_300


async def test_nothing_is_counted_twice_whoever_counts_and_however_often_it_is_opened_again(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}])
    async with crew.held():
        await Member(crew, "lin").approve(run)
        await count_all(crew.services)
        async with transaction(crew.services.engine) as session:
            row = (await session.execute(text("SELECT id FROM approval_requests WHERE run_id = :run"), {"run": run.id})).one()
            assert await reopen_request(session, row.id)
            await session.execute(text("UPDATE approval_requests SET state = 'denied', closed_at = now() WHERE id = :id"), {"id": row.id})

    async def count() -> int:
        async with transaction(crew.services.engine) as session:
            return await count_ended(session)

    assert sum(await asyncio.gather(*(count() for _ in range(4)))) == 0
    found = await figures(crew)
    assert found["approvals_ended_total", ("cart", "sre", "approved")] == 1


async def test_messages_that_wait_are_told_with_how_long_since_they_were_wanted(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}])
    assert not [name for name in await figures(crew) if name[0].startswith("messages_")]
    await crew.later("1h")
    async with transaction(crew.owner) as session:
        bump = "UPDATE messages SET wanted = wanted + 1, due_at = countersign_now() WHERE run_id = :run AND kind = 'card'"
        await session.execute(text(bump), {"run": run.id})
        await session.execute(text("UPDATE clock SET shift = shift + interval '5 minutes'"))
        await session.execute(text(bump), {"run": run.id})
        dead = "UPDATE messages SET dead_at = now(), due_at = now() WHERE run_id = :run AND kind <> 'card'"
        await session.execute(text(dead), {"run": run.id})
    found = await figures(crew)
    assert found["messages_waiting", ("room",)] == 1
    assert 300 <= found["messages_oldest_seconds", ("room",)] < 400


async def test_every_process_shows_them(world: World) -> None:
    async with web_of(world) as web, web.client() as anybody:
        told = (await anybody.get("/metrics")).text
    names = ("approval_first_vote_seconds", "approval_decision_seconds", "approvals_ended_total", "approvals_open", "messages_waiting")
    assert all(f"# TYPE countersign_{name} " in told for name in names)
