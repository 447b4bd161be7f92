"""Standing approvals: so many times, for these people and arguments, without asking; and everything that ends one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.people import deactivate
from tests.automations.carts import write_cart

PRIVATE = '''
from countersign import Context, Plan, PlanningContext, command, step


@step(idempotent=True)
async def look(ctx: Context, where: str) -> None:
    """Looks."""


@command("peek", permission="cart:fill", visibility="private")
async def peek(ctx: PlanningContext, where: str) -> Plan:
    """Look into somebody's cart."""
    return Plan("looked", look(where))
'''
RULE = {"name": "carts", "command": "cart", "approve": {"stages": [{"of": "group:leads"}]}}


@pytest.fixture
async def crew(bot_database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada and Eve fill carts; Lin and Kim lead; Max approves in general."""
    write_cart(tmp_path)
    (tmp_path / "commands" / "peek.py").write_text(PRIVATE)
    async with open_bot(bot_database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", "eve", may=["cart:fill", "countersign:use"])
        bot.cast("lin", "kim", may=["countersign:approve", "cart:fill"])
        bot.cast("max", may=["countersign:approve"])
        bot.policy(people={"lin": {"groups": ["leads"]}, "kim": {"groups": ["leads"]}}, rules=[RULE])
        yield bot


def member(crew: Bot, name: str) -> Member:
    return Member(crew, name)


def status(run: RunHandle) -> RunStatus:
    return run.status


async def allowed(crew: Bot, *, what: str = 'cart how=\\"gone|all well\\"', uses: int = 2, people: str = "ada") -> RunHandle:
    run = await member(crew, "ada").say(f'standing allow "{what}" {people} {uses} 2h')
    await member(crew, "lin").approve(run, expect="it starts now")
    assert run.succeeded, run.outcome
    return run


async def test_so_many_times_without_asking_and_then_people_are_asked_again(crew: Bot) -> None:
    ada = member(crew, "ada")
    await allowed(crew)
    for _ in range(2):
        run = await ada.say("cart gone")
        assert run.succeeded
        queued = next(one for one in await crew.trail(run) if one.kind == "run:queued")
        assert queued.detail["because"].startswith("standing approval S")
        assert queued.detail["digest"] == run.digest
    assert status(await ada.say("cart gone")) is RunStatus.awaiting_approval


async def test_it_is_approved_by_those_who_approve_the_command_itself(crew: Bot) -> None:
    run = await member(crew, "ada").say("standing allow 'cart how=gone' ada 2 2h")
    await member(crew, "max").approve(run, expect="can decide it now")
    assert status(run) is RunStatus.awaiting_approval


async def test_other_people_and_other_arguments_are_asked_for(crew: Bot) -> None:
    await allowed(crew)
    assert status(await member(crew, "eve").say("cart gone")) is RunStatus.awaiting_approval
    assert status(await member(crew, "ada").say("cart undone")) is RunStatus.awaiting_approval


async def test_whoever_approved_it_is_not_let_through_by_their_own_approval(crew: Bot) -> None:
    await allowed(crew, people="ada,lin")
    assert status(await member(crew, "lin").say("cart gone")) is RunStatus.awaiting_approval
    assert (await member(crew, "ada").say("cart gone")).succeeded


async def test_it_ends_by_the_clock_and_by_a_word(crew: Bot) -> None:
    ada = member(crew, "ada")
    await allowed(crew)
    await crew.later("2h")
    assert status(await ada.say("cart gone")) is RunStatus.awaiting_approval
    await allowed(crew)
    listed = (await ada.ask("standing list")).reply.code
    number = listed.split()[0].removeprefix("S")
    assert (await member(crew, "eve").say(f"standing end {number}")).succeeded
    assert status(await ada.say("cart gone")) is RunStatus.awaiting_approval


async def test_when_its_approver_loses_the_right_it_carries_nothing(crew: Bot) -> None:
    await allowed(crew)
    crew.policy(people={"kim": {"groups": ["leads"]}})
    assert status(await member(crew, "ada").say("cart gone")) is RunStatus.awaiting_approval


async def test_an_approver_who_leaves_between_the_use_and_the_start_stops_it(crew: Bot) -> None:
    await allowed(crew)
    async with crew.held():
        run = await member(crew, "ada").say("cart gone")
        assert status(run) is RunStatus.queued
        async with transaction(crew.services.engine) as session:
            await deactivate(session, "lin")
    await crew.refresh()
    assert status(run) is RunStatus.awaiting_approval
    assert any("does not carry this any more" in one for one in run.changed)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("nothing how=gone", "There is no command 'nothing'"),
        ("cart", "Say what how may be"),
        ("cart when=now how=gone", "one value too many"),
        ("cart how=a..b", "has no order"),
        ("approve number=1", "There is no command 'approve' that could be allowed"),
    ],
)
async def test_what_cannot_stand_is_refused_with_a_sentence(crew: Bot, what: str, sentence: str) -> None:
    run = await member(crew, "ada").say(f"standing allow '{what}' ada 2 2h")
    assert sentence in run.outcome


async def test_what_is_private_is_not_allowed_in_a_list_that_everybody_reads(crew: Bot) -> None:
    run = await member(crew, "ada").say("standing allow 'peek where=here' ada 2 2h")
    assert status(run) is RunStatus.failed
    assert run.outcome.startswith("peek is private and a standing approval is not")
