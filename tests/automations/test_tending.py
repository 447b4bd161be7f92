"""What time does to a request, by the database's clock: stages announced, skipped and escalated, reminders, the two ends, stand-ins."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart

NAMES = ("ada", "lin", "kim", "max", "eve")


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts; Lin and Kim are engineers, Max leads, Eve is on the board."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.cast(*NAMES, may=["countersign:use"])
        bot.policy(
            people={"lin": {"groups": ["sre"]}, "kim": {"groups": ["sre"]}, "max": {"groups": ["leads"]}, "eve": {"groups": ["board"]}}
        )
        yield bot


def cast(crew: Bot) -> tuple[Member, ...]:
    return tuple(Member(crew, name) for name in NAMES)


async def asked(crew: Bot, **approve: Any) -> RunHandle:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": approve}])
    run = await Member(crew, "ada").say("/cart gone")
    assert status(run) is RunStatus.awaiting_approval, run.outcome
    return run


def status(run: RunHandle) -> RunStatus:
    return run.status


async def told(crew: Bot, name: str, run: RunHandle) -> int:
    """How many direct messages this person has got about the run."""
    return len([one for one in await crew.messages(name) if one.kind.startswith("direct") and one.run_id == run.id])


async def test_the_first_stage_decides_then_the_second_is_asked(crew: Bot) -> None:
    _, lin, kim, max_, _ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}, {"of": "group:leads"}])
    assert (await told(crew, "lin", run), await told(crew, "max", run)) == (1, 0)
    await max_.approve(run, expect="kim, lin can decide it now")
    await lin.approve(run, expect="2 more people have to approve")
    await kim.approve(run, expect="1 more person has to approve")
    assert await told(crew, "max", run) == 1, "the lead is asked when it is their turn"
    assert "request:stage" in run.trail
    await max_.approve(run, expect="it starts now")
    assert run.succeeded


async def test_a_stage_that_is_not_decided_in_time_is_skipped(crew: Bot) -> None:
    _, lin, _, max_, _ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:leads", "skip_after": "1h"}, {"of": "group:sre"}])
    await crew.later("59m")
    await lin.approve(run, expect="max can decide it now")
    await crew.later("1m")
    assert status(run) is RunStatus.awaiting_approval
    assert "request:stage" in run.trail
    await max_.approve(run, expect="can decide it now")
    await lin.approve(run, expect="it starts now")
    assert run.succeeded


async def test_nobody_decides_so_others_may_too(crew: Bot) -> None:
    *_, eve = cast(crew)
    run = await asked(crew, stages=[{"of": "group:leads", "escalate_after": "30m", "escalate_to": "group:board"}])
    await eve.approve(run, expect="max can decide it now")
    assert await told(crew, "eve", run) == 0
    await crew.later("30m")
    assert await told(crew, "eve", run) == 1
    assert run.trail.count("request:escalated") == 1
    await crew.later("30m")
    assert run.trail.count("request:escalated") == 1
    await eve.approve(run, expect="it starts now")
    assert run.succeeded


async def test_a_reminder_goes_to_those_who_have_not_decided_until_it_ends(crew: Bot) -> None:
    _, lin, *_ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}], remind="1h", expires="3h")
    await lin.approve(run, expect="1 more person")
    await crew.later("1h")
    assert (await told(crew, "lin", run), await told(crew, "kim", run)) == (1, 2)
    await crew.later("1h")
    assert await told(crew, "kim", run) == 3
    await crew.later("59m")
    assert status(run) is RunStatus.awaiting_approval
    await crew.later("1m")
    assert status(run) is RunStatus.expired
    assert run.trail.count("request:reminded") == 2


async def test_a_fallback_decides_where_nobody_else_is_left(crew: Bot) -> None:
    _, lin, _, max_, _ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:nobody", "fallback": "person:max"}])
    assert run.outcome == ""
    await lin.approve(run, expect="max can decide it now")
    await max_.approve(run, expect="it starts now")
    assert run.succeeded


async def test_where_no_one_can_approve_it_is_said_at_once(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:nobody"}])
    assert run.outcome == "No one can approve this: it needs group nobody, and nobody can. An admin has to grant it."


async def test_kim_stands_in_for_max_who_is_away_and_both_are_named(crew: Bot) -> None:
    ada, _, kim, max_, _ = cast(crew)
    away = await max_.say("/delegate kim 2h")
    assert away.succeeded
    run = await asked(crew, stages=[{"of": "group:leads"}])
    await ada.approve(run, expect="someone else must approve")
    await kim.approve(run, expect="it starts now")
    assert run.succeeded
    decision = next(one for one in await crew.trail(run) if one.kind == "decision:approve")
    assert (decision.actor, decision.detail["on_behalf"]) == ("kim", "max")


async def test_a_delegation_ends_by_itself_and_max_may_always_decide(crew: Bot) -> None:
    _, _, kim, max_, _ = cast(crew)
    await max_.say("/delegate kim 2h")
    run = await asked(crew, stages=[{"of": "group:leads"}])
    await crew.later("2h")
    await kim.approve(run, expect="max can decide it now")
    await max_.approve(run, expect="it starts now")


async def test_max_and_kim_in_his_place_are_one_person(crew: Bot) -> None:
    _, _, kim, max_, _ = cast(crew)
    crew.policy(people={"max": {"groups": ["leads"]}, "lin": {"groups": ["leads"]}, "kim": {"groups": ["sre"]}})
    await max_.say("/delegate kim 2h")
    run = await asked(crew, stages=[{"of": "group:leads", "count": 2}])
    await max_.approve(run, expect="1 more person")
    await kim.approve(run, expect="lin can decide it now")
    assert status(run) is RunStatus.awaiting_approval


async def test_two_have_to_deny_where_the_rule_says_so(crew: Bot) -> None:
    _, lin, kim, *_ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}], deny=2)
    await lin.deny(run, expect="Your denial counts")
    assert status(run) is RunStatus.awaiting_approval
    await kim.deny(run, expect="will not happen")
    assert status(run) is RunStatus.denied


async def test_an_approver_says_why_where_the_rule_wants_to_know(crew: Bot) -> None:
    _, lin, *_ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:sre"}], voter_reason=True)
    await lin.approve(run, expect="why you approve")
    await lin.approve(run, reason="I have read it", expect="it starts now")


async def test_an_approval_that_waited_too_long_is_asked_for_again(crew: Bot) -> None:
    _, lin, *_ = cast(crew)
    run = await asked(crew, stages=[{"of": "group:sre"}], valid="1h")
    async with crew.held():
        await lin.approve(run, expect="it starts now")
        await crew.later("1h")
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval
    assert any("waited too long" in one for one in run.changed)
    await lin.approve(run, expect="it starts now")
    assert run.succeeded
