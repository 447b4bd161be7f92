"""policy matrix, diff and suggest: answered by workers, for auditors, from what was recorded."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from kit.bots import Bot, Member, RunHandle
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.policies import find_policy
from store.runs import find_run

People = tuple[Member, Member, Member, Member]


@pytest.fixture
def bot_database(database: DatabaseUrls) -> DatabaseUrls:
    """Of its own: grants are given here, and everything that was ever asked is looked at."""
    return database


async def answer(member: Member, command: str, **arguments: Any) -> tuple[str, list[str], dict[str, Any]]:
    run = await member.submit(command, **arguments)
    assert run.answer is not None, run.outcome
    return run.answer.text, run.answer.code.splitlines(), run.answer.data


async def in_force(crew: Bot) -> str:
    async with reading(crew.services.engine) as session:
        found = await find_policy(session)
    assert found is not None
    return found.body


async def number_of(crew: Bot, run: RunHandle) -> int:
    async with reading(crew.services.engine) as session:
        row = await find_run(session, run.id)
    assert row is not None
    return row.number


async def carts(ada: Member, count: int = 1) -> list[RunHandle]:
    return [await ada.say("cart how='all well'") for _ in range(count)]


async def test_the_matrix_groups_people_of_whom_the_same_is_true(crew: Bot, people: People) -> None:
    _, _, max_, eve = people
    told, lines, data = await answer(
        max_,
        "policy matrix",
        what=["cart 'all well'", "grant ada role-lin"],
    )
    assert told.startswith("4 people and 2 commands, under policy ")
    assert lines == [
        "cart 'all well'",
        "  yes: ada",
        "  no: This needs the permission cart:fill; it belongs to the role role-ada.: eve, lin, max",
        "grant ada role-lin",
        "  no: This needs the permission countersign:admin; it belongs to the role role-lin or role-max.: ada, eve",
        "  yes, approved by who holds countersign:admin: lin, max",
    ]
    groups = {tuple(one["people"]): one["allowed"] for one in data["commands"]["cart 'all well'"]}
    assert groups == {("ada",): True, ("eve", "lin", "max"): False}
    assert data["commands"]["grant ada role-lin"][1]["approval"]["by"] == "countersign:admin"
    _, lines, data = await answer(max_, "policy matrix", people=["eve"])
    assert {"cart", "grant", "policy apply"} <= set(data["commands"])
    assert "countersign:audit" in (await eve.ask("policy matrix")).reply.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"people": ["nobody"]}, "There is no person named nobody."),
        ({"what": ["nope"]}, "There is no command 'nope'."),
        ({"what": ["grant ada"]}, "role: is required"),
    ],
)
async def test_what_cannot_be_looked_at_is_said(crew: Bot, people: People, arguments: dict[str, Any], sentence: str) -> None:
    run = await people[2].submit("policy matrix", **arguments)
    assert sentence in run.outcome


async def test_what_was_asked_is_decided_again_under_another_policy(crew: Bot, people: People) -> None:
    ada, lin, max_, eve = people
    (first, second) = await carts(ada, 2)
    refused = await eve.say("cart how='all well'")
    crew.cast("mia")
    grant = await max_.say("grant mia role-lin")
    await lin.approve(grant)
    new = (await in_force(crew)) + (
        "rules:\n- {name: gate, command: cart, approve: {by: countersign:approve}}\n"
        "- {name: open, command: cart, people: [eve], allow: true}\n"
    )
    told, lines, data = await answer(max_, "policy diff", new=new)
    assert told.startswith("Of ")
    numbers = {one["number"]: one for one in data["differences"]}
    mine = [await number_of(crew, one) for one in (first, second, refused)]
    assert [numbers[one]["old"]["because"] for one in mine] == [
        "allowed, no approval",
        "allowed, no approval",
        "refused: This needs the permission cart:fill; it belongs to the role role-ada.",
    ]
    assert {numbers[one]["new"]["because"] for one in mine} == {"approved by who holds countersign:approve"}
    assert not any(one["command"] == "grant" for one in data["differences"])
    assert f"#{mine[0]} ada: cart how=all well" in lines
    assert "    allowed, no approval → approved by who holds countersign:approve" in lines
    told, lines, data = await answer(max_, "policy diff", new=await in_force(crew), old=new, days=1)
    assert {one["number"] for one in data["differences"]} >= set(mine)
    told, _, data = await answer(max_, "policy diff", new=await in_force(crew))
    assert told.endswith("all would be decided as they were.")
    assert data["differences"] == []


async def test_people_that_a_policy_leaves_out_would_be_refused(crew: Bot, people: People) -> None:
    ada, _, max_, _ = people
    (run,) = await carts(ada)
    number = await number_of(crew, run)
    _, _, data = await answer(max_, "policy diff", new="people: {lin: {}}\n")
    (one,) = [one for one in data["differences"] if one["number"] == number]
    assert one["new"]["because"] == "refused: ada is not active"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"new": "profil: team"}, "policy line 1: profil is not a key"), ({"new": "profile: team", "days": 0}, "days: should")],
)
async def test_a_policy_that_cannot_be_compared_is_said(crew: Bot, people: People, arguments: dict[str, Any], sentence: str) -> None:
    run = await people[2].submit("policy diff", **arguments)
    assert sentence in run.outcome


async def test_gates_that_nobody_refused_and_roles_that_nobody_used(crew: Bot, people: People, tmp_path: Path) -> None:
    ada, lin, max_, _ = people
    crew.cast("mia")
    crew.policy(rules=[{"name": "gate", "command": "cart", "approve": {"by": "countersign:approve"}}])
    runs = await carts(ada, 2)
    for run in runs:
        await lin.approve(run)
    grant = await max_.say("grant mia role-ada")
    await lin.approve(grant)
    await copies(crew, runs[0].id, 60)
    _, lines, data = await answer(max_, "policy suggest")
    (gate,) = [one for one in data["suggestions"] if one["kind"] == "gate"]
    assert (gate["command"], gate["asked"] >= 60, gate["approvers"]) == ("cart", True, 1)
    assert gate["from"][0].startswith("rule 'gate', line ")
    assert lines[0].startswith("cart: who holds countersign:approve was asked ")
    assert "and never refused" in lines[0]
    roles = {(one["group"], one["role"]) for one in data["suggestions"] if one["kind"] == "role"}
    assert ("only-ada", "role-ada") not in roles
    assert not [one for one in data["suggestions"] if one["kind"] == "grant"]
    async with transaction(crew.owner) as session:
        await session.execute(text("UPDATE grants SET granted_at = granted_at - interval '100 days' WHERE subject = 'mia'"))
    _, lines, data = await answer(max_, "policy suggest")
    assert [one["subject"] for one in data["suggestions"] if one["kind"] == "grant"] == ["mia"]
    await deny_one(crew)
    _, lines, data = await answer(max_, "policy suggest")
    assert not [one for one in data["suggestions"] if one["kind"] == "gate"]


async def copies(crew: Bot, run: Any, count: int) -> None:
    """As if the same had been asked and approved many times."""
    async with transaction(crew.owner) as session:
        await session.execute(
            text(
                "INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, state, opened_at, expires_at, closed_at)"
                " SELECT gen_random_uuid(), run_id, n + 100, digest, rule, policy, 'approved', opened_at, expires_at,"
                " opened_at + interval '90 seconds' FROM approval_requests, generate_series(1, :count) AS n WHERE run_id = :run"
            ),
            {"run": run, "count": count},
        )


async def deny_one(crew: Bot) -> None:
    async with transaction(crew.owner) as session:
        await session.execute(
            text(
                "UPDATE approval_requests SET state = 'denied' WHERE id = (SELECT q.id FROM approval_requests q"
                " JOIN runs r ON r.id = q.run_id WHERE r.command = 'cart' AND q.state = 'approved' LIMIT 1)"
            )
        )
