"""Rules of version 2 on the real engine: limits whichever way a request comes, reasons, time by the database's clock, and allowing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from countersign.runs import RunStatus
from kit.bots import Bot, Member
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.runs import NewRun, create
from tests.automations.carts import write_cart

ALL_WELL = "cart how='all well'"


@pytest.fixture
async def shop(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts, Lin approves, Zoe may nothing."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", "kim", may=["cart:fill"])
        bot.cast("lin", may=["countersign:approve"])
        bot.cast("zoe")
        yield bot


def rules(shop: Bot, *rules: dict[str, Any], **sections: Any) -> tuple[Member, Member, Member, Member]:
    shop.policy(rules=[{"name": f"r{n}", "command": "cart", **one} for n, one in enumerate(rules)], **sections)
    ada, kim, lin, zoe = shop.cast("ada", "kim", "lin", "zoe")
    return ada, kim, lin, zoe


async def test_a_limit_is_said_at_once_with_the_time_when_there_is_room_again(shop: Bot) -> None:
    ada, kim, *_ = rules(shop, {"name": "calm", "limit": {"count": 2, "per": "1h"}})
    for _ in range(2):
        assert (await ada.say(ALL_WELL)).succeeded
    refused = await ada.say(ALL_WELL)
    assert refused.status is RunStatus.refused
    assert refused.outcome.startswith(
        "cart was asked for by ada 2 times in the last 1h, which is all that the rule 'calm' allows. Ask again"
    )
    assert (await ada.say(ALL_WELL, dry_run=True)).status is RunStatus.answered
    assert (await kim.say(ALL_WELL)).succeeded
    await shop.later("61m")
    assert (await ada.say(ALL_WELL)).succeeded


async def test_a_limit_for_the_command_counts_everybody_and_only_what_the_rule_matches(shop: Bot) -> None:
    ada, kim, *_ = rules(shop, {"name": "daily", "when": {"how": "all well"}, "limit": {"count": 1, "per": "1d", "by": "command"}})
    assert (await kim.say("cart how=gone")).succeeded
    assert (await ada.say(ALL_WELL)).succeeded
    assert (await kim.say(ALL_WELL)).status is RunStatus.refused
    assert (await kim.say("cart how=gone")).succeeded


async def test_requests_that_come_by_no_door_are_counted_by_the_worker(shop: Bot) -> None:
    ada, *_ = rules(shop, {"name": "counted", "limit": {"count": 2, "per": "1h"}})
    person = await shop.person("ada")
    command = shop.services.registry.commands["cart"]
    births = [
        NewRun(
            key=str(uuid4()),
            command="cart",
            code_version=command.code_version,
            risk=int(command.risk),
            visibility="staff",
            asker=person.name,
            door="api",
            place={"platform": "api", "team": "", "channel": "", "thread": "", "shared": False},
            arguments={"how": "all well"},
            origins={},
            policy="p",
        )
        for _ in range(5)
    ]
    async with transaction(shop.hub.engine) as session:
        await create(session, births)
    handles = [await shop.watch(one.id, (await ada.ask("whoami")).reply) for one in births]
    assert sorted(one.status for one in handles) == [RunStatus.failed] * 3 + [RunStatus.succeeded] * 2
    assert all("which is all that the rule 'counted' allows" in one.outcome for one in handles if one.status is RunStatus.failed)


async def test_a_missing_reason_is_asked_for_with_a_form(shop: Bot) -> None:
    ada, *_ = rules(shop, {"require_reason": {"pattern": "^OPS-[0-9]+", "hint": "the ticket"}})
    asked = await ada.ask(ALL_WELL)
    assert asked.form is not None
    assert asked.reply.text == 'cart needs a reason: the ticket. Give it with --reason "…".'
    question = asked.form.inputs[-1]
    assert (question.name, question.required, question.hint) == ("--reason", True, asked.reply.text)
    assert (await ada.say(f"{ALL_WELL} --reason soon")).status is RunStatus.refused
    assert (await ada.submit("cart", how="all well", **{"--reason": "OPS-7"})).succeeded


async def test_time_is_the_databases_at_the_door_and_at_execution(shop: Bot) -> None:
    """The rule holds in every hour but the one in which it was written, so it denies an hour later."""
    ada, _, lin, _ = rules(shop, {"approve": {}})
    hour = int((await _now(shop))[:2])
    closed = {"if": f"time.hour != {hour} && time.hour != {(hour + 1) % 24}", "deny": "The shop is closed."}
    rules(shop, {"approve": {}}, closed)
    run = await ada.say(ALL_WELL)
    assert run.status == "awaiting_approval"
    await shop.later("2h")
    assert (await ada.say(ALL_WELL)).outcome == "The shop is closed."
    await lin.approve(run)
    assert run.status == "cancelled"
    assert "The shop is closed." in run.outcome


async def test_a_rule_lets_in_whom_no_role_does_and_shows_the_command(shop: Bot) -> None:
    _, _, _, zoe = rules(shop)
    assert "cart" not in str((await zoe.ask("help")).reply.model_dump())
    _, _, _, zoe = rules(shop, {"people": ["zoe"], "if": 'args.how != "deaf"', "allow": True})
    assert "cart" in str((await zoe.ask("help")).reply.model_dump())
    assert (await zoe.say(ALL_WELL)).succeeded
    refused = await zoe.say("cart how=deaf")
    assert (refused.status, "needs the permission cart:fill" in refused.outcome) == (RunStatus.refused, True)


async def test_a_rule_may_not_be_read_and_then_holds(shop: Bot) -> None:
    ada, *_ = rules(shop, {"if": "int(args.how) > 3", "deny": "Too many."})
    assert (await ada.say("cart how=4")).outcome == "Too many."
    assert "could not be read here, so it applies: cannot convert string to int" in (await ada.say(ALL_WELL)).outcome


async def _now(shop: Bot) -> str:
    await shop.person("ada")
    rulebook = await shop.hub.rulebook()
    return f"{rulebook.now():%H:%M}"
