"""What waits for whom: exactly what they may decide now, the most urgent first, whatever the rule looks at."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from commands.inboxes import Inbox, waiting_for
from commands.voting import read_ballots
from countersign.approvals import Approval, Stage, Voters
from countersign.tallies import Outcome
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.approvals import ApprovalRequestRow
from store.audiences import Place
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import find_all_people
from store.runs import RunRow
from tests.automations.carts import write_cart

NAMES = ("ada", "lin", "kim", "max", "eve")
PEOPLE: dict[str, Any] = {
    "ada": {"manager": "max"},
    "lin": {"groups": ["sre"], "manager": "max"},
    "kim": {"groups": ["sre"], "manager": "lin"},
    "max": {"groups": ["leads"]},
    "eve": {"groups": ["board"]},
}


@pytest.fixture
async def crew(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """Ada fills carts; Lin and Kim are engineers, Max leads, Eve is on the board."""
    write_cart(tmp_path)
    async with open_bot(database, tmp_path, commands=tmp_path / "commands") as bot:
        bot.cast(*NAMES, may=["cart:fill", "countersign:use"])
        bot.policy(people=PEOPLE)
        yield bot


async def asked(crew: Bot, *, by: str = "ada", **approve: Any) -> RunHandle:
    crew.policy(rules=[{"name": "carts", "command": "cart", "approve": approve}])
    return await Member(crew, by).say("/cart gone")


async def inbox(crew: Bot, name: str, **more: Any) -> Inbox:
    person, rulebook = await crew.person(name), await crew.hub.rulebook()
    return await crew.hub.read(lambda session: waiting_for(session, rulebook, person, **more))


async def waits(crew: Bot, name: str) -> list[Any]:
    """The ids of the runs that wait for this person, in their order."""
    return [one.run.id for one in (await inbox(crew, name)).waiting]


async def test_it_waits_for_those_who_may_decide_and_have_not(crew: Bot) -> None:
    lin = Member(crew, "lin")
    run = await asked(crew, stages=[{"of": "group:sre", "count": 2}])
    assert [await waits(crew, name) for name in NAMES] == [[], [run.id], [run.id], [], []]
    await lin.approve(run, expect="1 more person")
    assert [await waits(crew, name) for name in ("lin", "kim")] == [[], [run.id]]
    await Member(crew, "kim").approve(run, expect="it starts now")
    assert await waits(crew, "kim") == []


async def test_nobody_decides_on_their_own_request(crew: Bot) -> None:
    run = await asked(crew, by="lin", stages=[{"of": "group:sre"}])
    assert (await waits(crew, "lin"), await waits(crew, "kim")) == ([], [run.id])
    own = await asked(crew, by="lin", stages=[{"of": "group:sre"}], asker_may=True)
    assert await waits(crew, "lin") == [own.id]


async def test_the_most_urgent_is_first_and_pages_follow_each_other(crew: Bot) -> None:
    runs = [await asked(crew, stages=[{"of": "group:sre"}], expires=f"{hours}h") for hours in (5, 2, 4, 1, 3)]
    wanted = [runs[n].id for n in (3, 1, 4, 2, 0)]
    assert await waits(crew, "lin") == wanted
    seen: list[Any] = []
    after: Place | None = None
    for _ in range(4):
        page = await inbox(crew, "lin", limit=2, after=after)
        seen += [one.run.id for one in page.waiting]
        if (after := page.more) is None:
            break
    assert seen == wanted


async def test_the_next_stage_waits_for_its_own_people_at_once(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}, {"of": "group:leads"}])
    person, rulebook = await crew.person("lin"), await crew.hub.rulebook()
    assert (await waits(crew, "lin"), await waits(crew, "max")) == ([run.id], [])
    await Member(crew, "lin").approve(run, expect="1 more person")
    async with reading(crew.hub.engine) as session:
        assert (await waiting_for(session, rulebook, person)).waiting == []
    assert await waits(crew, "max") == [run.id]


async def test_those_to_whom_it_escalates_and_stand_ins_see_it_when_it_is_theirs(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:leads", "escalate_after": "30m", "escalate_to": "group:board"}])
    assert await waits(crew, "eve") == []
    await crew.later("30m")
    assert await waits(crew, "eve") == [run.id]
    await Member(crew, "max").say("/delegate kim 2h")
    (waiting,) = (await inbox(crew, "kim")).waiting
    assert (waiting.run.id, waiting.on_behalf) == (run.id, "max")
    await crew.later("2h")
    assert await waits(crew, "kim") == []


async def test_leaving_a_group_empties_the_inbox_and_joining_fills_it(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}])
    crew.policy(people={**PEOPLE, "lin": {}, "eve": {"groups": ["sre"]}})
    assert [await waits(crew, name) for name in ("lin", "kim", "eve")] == [[], [run.id], [run.id]]


async def test_a_row_that_nobody_of_ours_wrote_waits_for_nobody_and_hides_nothing(crew: Bot) -> None:
    runs = [await asked(crew, stages=[{"of": "group:sre"}], expires=f"{hours}h") for hours in (1, 2)]
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE approval_requests SET rule = '{\"by\": 7}' WHERE run_id = :run"), {"run": runs[0].id})
        await session.execute(text("UPDATE audiences SET asked = '[1]'"))
    assert await waits(crew, "lin") == [runs[1].id]


async def test_what_is_typed_names_each_with_its_end(crew: Bot) -> None:
    run = await asked(crew, stages=[{"of": "group:sre"}], expires="2h")
    told = (await Member(crew, "lin").ask("inbox")).reply
    assert "approve NUMBER or deny NUMBER" in told.text
    assert "ada" in told.code
    assert "cart" in told.code
    assert (await Member(crew, "max").ask("inbox")).reply.text == "Nothing waits for you."
    await Member(crew, "lin").approve(run)
    assert (await Member(crew, "lin").ask("inbox")).reply.text == "Nothing waits for you."


async def test_it_is_what_the_rules_say_for_every_person_and_any_rule(crew: Bot) -> None:
    """Against the plain way: every open request, one by one."""
    dice = random.Random(20261123)
    crew.policy(
        schedules={"day": {"rotation": ["lin", "eve"], "start": "2026-01-01T00:00:00Z", "every": "1d"}},
        owners={"how": {"gone": ["person:eve", "group:leads"], "fail": ["manager-of-requester"]}},
        roles={"chief": ["cart:approve", "deploy:*"]},
        groups={"leads": ["chief"]},
    )
    await Member(crew, "max").say("/delegate kim 3h")
    runs = []
    for _ in range(25):
        rule = {"stages": [_stage(dice) for _ in range(dice.choice((1, 1, 2)))], "asker_may": dice.random() < 0.2, "expires": "6h"}
        runs.append(await asked(crew, by=dice.choice(("ada", "lin", "kim")), **rule))
        if dice.random() < 0.3:
            await Member(crew, dice.choice(NAMES)).approve(runs[-1])
    for hours in ("0m", "1h", "90m"):
        await crew.later(hours) if hours != "0m" else None
        for name in NAMES:
            assert set(await waits(crew, name)) == await _plainly(crew, name), name
    assert any([await waits(crew, name) for name in NAMES])


def _stage(dice: random.Random) -> dict[str, Any]:
    groups = ("group:sre", "group:leads", "group:nobody", "role:chief", "permission:cart:approve", "permission:deploy:anything")
    selectors = (*groups, "person:eve", "on-call:day", "owner-of:how", "manager-of-requester")
    stage: dict[str, Any] = {"of": dice.sample(selectors, dice.choice((1, 2))), "count": dice.choice((1, 1, 2))}
    if dice.random() < 0.3:
        stage |= {"escalate_after": "1h", "escalate_to": "group:board"}
    return stage | ({"fallback": "person:max"} if dice.random() < 0.3 else {})


async def _plainly(crew: Bot, name: str) -> set[Any]:
    person, rulebook = await crew.person(name), await crew.hub.rulebook()
    async with reading(crew.hub.engine) as session:
        rows = (await session.execute(_OPEN)).all()
        requests = {row.id: await session.get(ApprovalRequestRow, row.id) for row in rows}
        pairs = [(request, await session.get(RunRow, request.run_id)) for request in requests.values() if request]
        people = {one.name: one for one in await find_all_people(session)}
        ballots = await read_ballots(session, rulebook, [(one, run) for one, run in pairs if run], person=name, people=people)
    found = set()
    for ballot in ballots:
        tally = ballot.tally()
        if tally.outcome is Outcome.waiting and ballot.right_of(person, tally)[0].__class__.__name__ == "Allowed":
            found |= set() if ballot.has_voted(name) else {ballot.run_id}
    return found


_OPEN = text("SELECT id FROM approval_requests WHERE state = 'open'")


def test_a_short_rule_and_its_stages_ask_the_same_people() -> None:
    assert Approval(by="a:b").steps == (Stage((Voters(("permission:a:b",)),)),)
