"""Break-glass: friction before, everybody told at once, a badge everywhere, an hour, and a review by somebody who was not involved."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls
from tests.automations.carts import write_cart

REASON = "production is down and nobody answers"


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts and holds the hammer; Lin and Kim approve; Max is the admin; Eve is outside."""
    write_cart(tmp_path)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill", "countersign:use", "countersign:break-glass"])
        bot.cast("lin", "kim", may=["countersign:approve"])
        bot.cast("max", may=["countersign:admin"])
        bot.cast("eve", may=["cart:fill"])
        bot.policy(rules=[{"name": "carts", "command": "cart", "approve": {"count": 2}}])
        yield bot


async def asked(crew: Bot) -> RunHandle:
    return await Member(crew, "ada").say("cart gone")


async def broken(crew: Bot, run: RunHandle, *, name: str = "ada", target: str = "gone", reason: str = REASON) -> str:
    answer = (await Member(crew, name).ask(f"break-glass {run.id} {target} --reason '{reason}'")).reply.text
    await crew.refresh()
    return answer


def status(run: RunHandle) -> RunStatus:
    return run.status


async def test_it_starts_and_everybody_passed_over_and_the_admin_are_told(crew: Bot) -> None:
    run = await asked(crew)
    assert "The glass is broken" in await broken(crew, run)
    assert run.succeeded
    for name in ("lin", "kim", "max"):
        assert [one.kind for one in await crew.messages(name) if one.run_id == run.id].count("direct:break-glass") == 1
    assert "break-glass" in (await crew.card(run)).title
    event = next(one for one in await crew.trail(run) if one.kind == "break-glass:broken")
    assert (event.actor, event.detail["reason"]) == ("ada", REASON)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": "other"}, "type the target of the run: gone"),
        ({"reason": "now"}, "Say in a sentence why nobody can be asked"),
        ({"name": "eve"}, "countersign:break-glass"),
    ],
)
async def test_friction_comes_before(crew: Bot, changes: dict[str, str], sentence: str) -> None:
    run = await asked(crew)
    assert sentence in await broken(crew, run, **changes)
    assert status(run) is RunStatus.awaiting_approval


async def test_the_review_stays_until_somebody_who_was_not_involved_signs_it(crew: Bot) -> None:
    run = await asked(crew)
    await Member(crew, "lin").approve(run, expect="1 more")
    await broken(crew, run)
    for name, sentence in (("ada", "not involved"), ("lin", "not involved"), ("eve", "not involved")):
        assert sentence in (await Member(crew, name).ask(f"review {run.id} 'it was right to do so'")).reply.text
    kim = Member(crew, "kim")
    assert f"#{(await crew.card(run)).title.split('#')[1].split()[0]}" in (await kim.ask("reviews")).reply.code
    assert "in a sentence" in (await kim.ask(f"review {run.id} ok")).reply.text
    assert "is signed" in (await kim.ask(f"review {run.id} 'it was right to do so'")).reply.text
    assert "has signed the review" in (await Member(crew, "max").ask(f"review {run.id} 'me too, I think so'")).reply.text
    assert "review:signed" in [one.kind for one in await crew.trail(run)]


async def test_a_review_that_nobody_signs_is_asked_for_every_day(crew: Bot) -> None:
    run = await asked(crew)
    await broken(crew, run)
    await crew.later("24h")
    await crew.later("24h")
    asked_for = [one for one in await crew.messages("kim") if one.run_id == run.id and "review" in one.kind]
    assert len(asked_for) == 2


async def test_the_hour_is_short(crew: Bot) -> None:
    run = await asked(crew)
    async with crew.held():
        await broken(crew, run)
        await crew.later("1h")
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval
    assert any("broken too long ago" in one for one in run.changed)


async def test_what_is_approved_after_all_is_not_marked_as_broken(crew: Bot) -> None:
    run = await asked(crew)
    async with crew.held():
        await broken(crew, run)
        await crew.later("1h")
    await crew.refresh()
    for name in ("lin", "kim"):
        await Member(crew, name).approve(run)
    assert run.succeeded
    assert "break-glass" not in (await crew.card(run)).title
    assert "no review" in (await Member(crew, "max").ask(f"review {run.id} 'it was right to do so'")).reply.text
    assert "break-glass:broken" in [one.kind for one in await crew.trail(run)]


async def test_a_forged_row_of_somebody_who_may_not_breaks_nothing(crew: Bot) -> None:
    run = await asked(crew)
    async with crew.held():
        await broken(crew, run)
        async with transaction(crew.owner) as session:
            await session.execute(text("UPDATE breaks SET person = 'eve' WHERE run_id = :run"), {"run": run.id})
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval
    assert any("by anybody who may" in one for one in run.changed)
