"""What becomes of open requests when people come and go: who is left is asked, and where nobody is, the card says so at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from automations.housekeeping.rerouting import reroute
from commands.policies import compile_policy
from countersign import RunStatus
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import transaction
from store.embedded import DatabaseUrls
from store.people import save_people
from tests.automations.carts import write_cart

NAMES = ("ada", "lin", "kim", "max", "eve")
PEOPLE: dict[str, Any] = {
    "ada": {"manager": "max"},
    "lin": {"groups": ["sre"]},
    "kim": {"groups": ["sre"]},
    "max": {"groups": ["leads"]},
    "eve": {},
}


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts; Lin and Kim are engineers, Max leads, Eve is new."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast("ada", may=["cart:fill"])
        bot.cast(*NAMES, may=["countersign:use"])
        bot.policy(people=PEOPLE)
        yield bot


async def asked(crew: Bot, **approve: Any) -> RunHandle:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": approve}])
    return await Member(crew, "ada").say("/cart gone")


async def regroup(crew: Bot, **people: dict[str, Any]) -> None:
    """Others are in these groups now, or have this manager; nobody does anything about it but the housekeeper."""
    crew.policy(people=PEOPLE | people)
    await crew.person("ada")
    await crew.refresh()


async def told(crew: Bot, name: str, run: RunHandle) -> int:
    return len([one for one in await crew.messages(name) if one.kind.startswith("direct") and one.run_id == run.id])


async def wanted(crew: Bot, runs: list[RunHandle]) -> int:
    """How often what shows these runs was to be shown anew."""
    async with transaction(crew.owner) as session:
        query = text("SELECT sum(wanted) FROM messages WHERE run_id = ANY(:runs)")
        return int((await session.execute(query, {"runs": [one.id for one in runs]})).scalar_one())


async def test_nobody_is_left_and_the_card_says_so_until_somebody_is(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}])
    assert "No one can approve" not in (await crew.card(run)).text
    await regroup(crew, lin={}, kim={})
    assert "No one can approve this: it needs group sre, and nobody can." in (await crew.card(run)).text
    assert run.status is RunStatus.awaiting_approval
    await regroup(crew, lin={}, kim={}, eve={"groups": ["sre"]})
    assert "No one can approve" not in (await crew.card(run)).text
    assert await told(crew, "eve", run) == 1
    await Member(crew, "eve").approve(run, expect="it starts now")
    assert run.succeeded


async def test_too_few_are_left_and_they_are_named(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}])
    await regroup(crew, lin={})
    assert run.outcome == "No one can approve this: it needs 2 of group sre, and kim can. An admin has to grant it."


async def test_a_later_stage_of_which_nobody_is_left_is_told_while_the_first_still_decides(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}, {"of": "group:leads"}])
    await regroup(crew, max={})
    assert "No one can approve this: it needs group leads" in run.outcome


async def test_whoever_joins_is_asked_once_and_those_asked_before_are_not_asked_again(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}])
    await regroup(crew, eve={"groups": ["sre"]})
    await regroup(crew, eve={"groups": ["sre"]}, max={})
    assert [await told(crew, name, run) for name in ("lin", "kim", "eve")] == [1, 1, 1]


async def test_an_approval_of_somebody_who_left_is_asked_of_another(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}, {"of": "group:leads"}])
    await Member(crew, "lin").approve(run, expect="1 more person")
    assert await told(crew, "max", run) == 1
    await regroup(crew, lin={})
    await Member(crew, "max").approve(run, expect="kim can decide it now")
    await Member(crew, "kim").approve(run, expect="1 more person")
    await Member(crew, "max").approve(run, expect="it starts now")
    assert run.succeeded


async def test_the_askers_new_manager_is_asked(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "manager-of-requester"}])
    await regroup(crew, ada={"manager": "eve"})
    assert (await told(crew, "max", run), await told(crew, "eve", run)) == (1, 1)
    await Member(crew, "max").approve(run, expect="eve can decide it now")


async def test_somebody_who_is_let_go_is_nobody_to_wait_for(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "person:eve"}])
    left = {name: entry for name, entry in PEOPLE.items() if name != "eve"}
    compiled = compile_policy("people: {" + ", ".join(f"{name}: {{}}" for name in left) + "}")
    async with transaction(crew.owner) as session:
        await save_people(session, compiled.file.roster())
    await crew.refresh()
    assert run.outcome == "No one can approve this: it needs eve, and nobody can. An admin has to grant it."


async def test_requests_that_wait_for_others_are_left_alone(crew: Bot) -> None:
    runs = [await asked(crew, stages=[{"of": "group:sre"}]) for _ in range(3)]
    other = await asked(crew, stages=[{"of": "group:leads"}])
    await reroute(crew.services)
    assert await reroute(crew.services) == 0
    before = await wanted(crew, runs)
    crew.policy(people=PEOPLE | {"eve": {"groups": ["leads"]}})
    await crew.person("ada")
    assert await reroute(crew.services) == 1, f"only #{other.id}, not {len(runs)} more"
    await crew.refresh()
    assert await wanted(crew, runs) == before
    assert await told(crew, "eve", other) == 1


async def test_a_request_that_nobody_can_read_keeps_nobody_from_the_others(crew: Bot) -> None:
    runs = [await asked(crew, stages=[{"of": "group:sre"}]) for _ in range(2)]
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE approval_requests SET rule = '[]', next_due = now() WHERE run_id = :run"), {"run": runs[0].id})
    await regroup(crew, lin={}, kim={})
    assert "No one can approve this" in runs[1].outcome
    await crew.later("25h")
    assert {one.status for one in runs} == {RunStatus.expired}
