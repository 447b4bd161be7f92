"""Rights change only through approved runs, and nobody grants to themselves."""

import pytest

from kit.bots import Bot, Member, RunHandle
from store.databases import reading
from store.grants import find_grants
from store.people import Account, find_by_account
from tests.commands.shipped.words import said

People = tuple[Member, Member, Member, Member]


async def roles(crew: Bot, name: str) -> list[tuple[str, bool]]:
    async with reading(crew.services.engine) as session:
        return [(one.role, one.until is not None) for one in await find_grants(session, subject=name)]


async def owner_of(crew: Bot, account: str) -> str:
    async with reading(crew.services.engine) as session:
        found = await find_by_account(session, Account("slack", f"T{account}", account))
    return found.name if found else ""


async def test_a_grant_is_approved_by_another_admin_and_taken_back_at_once(crew: Bot, people: People) -> None:
    ada, lin, max_, eve = people
    await said(eve, "whoami")
    run = await max_.say("grant @Eve role-ada 2h")
    assert run.summary == "eve gets the role role-ada for 2h, from its approval on"
    assert await roles(crew, "eve") == []
    await max_.approve(run, expect="someone else must approve your request")
    await ada.approve(run, expect="This needs the permission countersign:admin")
    await lin.approve(run)
    assert run.succeeded, run.outcome
    assert "grant:given" in run.trail
    assert await roles(crew, "eve") == [("role-ada", True)]
    assert (await eve.say("cart how='all well'")).succeeded
    back = await lin.say("revoke eve role-ada")
    assert back.succeeded, back.outcome
    assert "grant:ended" in back.trail
    assert await roles(crew, "eve") == []
    assert "This needs the permission cart:fill" in await said(eve, "cart how='all well'")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("grant max role-ada", "Nobody grants to themselves; somebody else has to ask for it."),
        ("grant @MAX role-ada", "Nobody grants to themselves; somebody else has to ask for it."),
        ("grant ada nope", "There is no role 'nope'; policy defines role-ada, role-eve, role-lin, role-max."),
        ("grant nobody role-ada", "There is no person named nobody."),
        ("revoke ada role-ada", "ada has no granted role role-ada; roles that come with a group change in the policy."),
        ("link max slack T1 U1", "Nobody links an account to themselves; somebody else has to ask for it."),
        ("link nobody slack T1 U1", "There is no person named nobody."),
    ],
)
async def test_what_must_not_be_is_refused_while_planning(people: People, line: str, sentence: str) -> None:
    _, _, max_, _ = people
    run = await max_.say(line)
    assert (run.status, run.outcome) == ("failed", sentence)


async def test_only_admins_ask(people: People) -> None:
    ada, *_ = people
    for line in ("grant eve role-ada", "revoke eve role-ada", "link eve slack T1 U1", "policy apply x"):
        run = await ada.say(line)
        assert run.status == "refused", line
        assert run.trail == ["run:refused"]


async def linked(people: People, name: str, account: str) -> RunHandle:
    _, lin, max_, _ = people
    run = await max_.say(f"link {name} slack T{account} {account}")
    await lin.approve(run)
    return run


async def test_an_account_is_linked_by_its_id_once(crew: Bot, people: People, account: str) -> None:
    run = await linked(people, "ada", account)
    assert run.succeeded, run.outcome
    assert "account:linked" in run.trail
    assert await owner_of(crew, account) == "ada"
    again = await linked(people, "eve", account)
    assert again.status == "failed"
    assert f"{account} is linked already" in again.outcome
    assert await owner_of(crew, account) == "ada"
