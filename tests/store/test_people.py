"""People, their accounts and groups, and the roles granted to them for a while."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from store.databases import reading, transaction
from store.grants import How, end, find_grants, give
from store.people import (
    Account,
    Person,
    deactivate,
    find_accounts,
    find_all_people,
    find_by_account,
    find_name_by_email,
    find_people,
    find_person,
    link_account,
    save_people,
    unlink_account,
)
from tests.store.tables import Tables


async def person(tables: Tables, name: str) -> Person:
    async with reading(tables.web) as session:
        found = await find_person(session, name)
    assert found is not None
    return found


def account(team: str = "T1") -> Account:
    return Account("slack", team, f"U{uuid4().hex[:8]}")


async def test_people_and_groups_follow_the_policy_and_who_is_not_in_it_any_more_is_let_go(tables: Tables) -> None:
    async with transaction(tables.worker) as session:
        await save_people(session, {"ada": {"email": "Ada@Example.test", "groups": ["a", "b"], "timezone": "Europe/Berlin"}})
    found = await person(tables, "ada")
    assert (found.groups, found.email, found.timezone) == (frozenset("ab"), "ada@example.test", "Europe/Berlin")
    async with transaction(tables.worker) as session:
        await save_people(session, {"ada": {"email": "ada@example.test", "groups": ["b", "c"]}})
    assert (await person(tables, "ada")).groups == {"b", "c"}
    async with transaction(tables.worker) as session:
        await save_people(session, {"lin": {"email": "lin@example.test"}})
    gone = await person(tables, "ada")
    assert not gone.active
    assert not gone.groups


async def test_a_manager_comes_and_goes_with_the_policy(tables: Tables) -> None:
    async with transaction(tables.worker) as session:
        await save_people(session, {"ada": {"manager": "lin"}, "lin": {}})
    assert ((await person(tables, "ada")).manager, (await person(tables, "lin")).manager) == ("lin", "")
    async with transaction(tables.worker) as session:
        await save_people(session, {"ada": {}, "lin": {}})
    assert (await person(tables, "ada")).manager == ""


async def test_a_membership_for_a_while_ends_by_itself(tables: Tables) -> None:
    await tables.execute(
        "INSERT INTO memberships (person, \"group\", until) VALUES ('kim', 'on-call', countersign_now() + interval '1 hour')"
        ' ON CONFLICT (person, "group", source) DO UPDATE SET until = excluded.until'
    )
    assert "on-call" in (await person(tables, "kim")).groups
    await tables.execute("UPDATE clock SET shift = '61 minutes'")
    assert "on-call" not in (await person(tables, "kim")).groups


async def test_who_left_stays_known_and_is_nobody(tables: Tables) -> None:
    async with transaction(tables.worker) as session:
        assert await deactivate(session, "eve")
        assert not await deactivate(session, "eve")
    assert not (await person(tables, "eve")).active
    async with reading(tables.web) as session:
        assert "eve" not in [one.name for one in await find_all_people(session)]
        assert await find_name_by_email(session, "eve@example.test") is None
        assert await find_name_by_email(session, "LIN@example.test") == "lin"
        assert set(await find_people(session, ["eve", "lin", "nobody"])) == {"eve", "lin"}
        assert await find_person(session, "nobody") is None


async def test_an_account_is_linked_once_and_one_a_team(tables: Tables) -> None:
    first, second, elsewhere = account(f"T{uuid4().hex}"), account(), account()
    second = Account("slack", first.team, second.account)
    async with transaction(tables.web) as session:
        assert await link_account(session, first, "lin", by="lin")
        assert not await link_account(session, first, "kim", by="kim")
        assert not await link_account(session, second, "lin", by="lin")
        assert await link_account(session, second, "kim", by="kim")
        assert await link_account(session, Account("slack", uuid4().hex, elsewhere.account), "lin", by="lin")
    async with reading(tables.web) as session:
        found = await find_by_account(session, first)
        assert found is not None
        assert found.name == "lin"
        assert await find_by_account(session, Account("slack", "T-other", first.account)) is None
        assert await find_by_account(session, Account("discord", first.team, first.account)) is None
        assert (await find_accounts(session, ["kim", "max"], platform="slack")).keys() <= {"kim", "max"}
    async with transaction(tables.worker) as session:
        assert await unlink_account(session, first)
        assert not await unlink_account(session, first)


async def test_two_links_at_the_same_instant_are_one(tables: Tables) -> None:
    one = account(uuid4().hex)

    async def link(name: str) -> bool:
        async with transaction(tables.web) as session:
            return await link_account(session, one, name, by=name)

    assert sorted(await asyncio.gather(*(link(name) for name in ("lin", "kim", "max", "ada")))) == [False, False, False, True]


async def test_roles_are_granted_to_people_and_to_groups(tables: Tables) -> None:
    run, grant, hour = await tables.run(), uuid4(), timedelta(hours=1)
    async with transaction(tables.worker) as session:
        assert await give(session, grant=grant, subject="max", role="r1", length=None, run=run)
        assert not await give(session, grant=grant, subject="max", role="r1", length=None, run=run)
        assert await give(session, grant=uuid4(), subject="max", role="r2", length=hour, run=run)
        assert await give(session, grant=uuid4(), subject="@grantees", role="r3", length=hour, run=run)
        await save_people(session, {"max": {"email": "max@example.test", "groups": ["grantees"]}})
        assert {one.role for one in await find_grants(session, subject="max")} == {"r1", "r2"}
    assert (await person(tables, "max")).roles == {"r1", "r2", "r3"}
    await tables.execute("UPDATE clock SET shift = '61 minutes'")
    assert (await person(tables, "max")).roles == {"r1"}
    async with transaction(tables.worker) as session:
        assert await end(session, [grant], by="ada", how=How.revoked) == [grant]
        assert await end(session, [grant], by="ada", how=How.revoked) == []
    assert (await person(tables, "max")).roles == frozenset()
