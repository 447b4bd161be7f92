"""What each source says of people and groups: nobody takes back another's word, and one that says gone is enough."""

from uuid import uuid4

from store.databases import reading, transaction
from store.people import find_person
from store.rosters import (
    end_tokens,
    find_memberships,
    find_sources,
    forget_vouchers,
    save_people,
    sync_memberships,
    take_leavers,
    vouch,
)
from store.tokens import find_token, issue_token
from tests.store.tables import Tables


async def somebody(tables: Tables) -> str:
    """A new person whom nobody vouches for yet."""
    name = f"p{uuid4().hex[:12]}"
    await tables.execute("INSERT INTO people (name, active) VALUES (:name, false)", name=name)
    return name


async def is_active(tables: Tables, name: str) -> bool:
    async with reading(tables.web) as session:
        person = await find_person(session, name)
    return person is not None and person.active


async def test_one_source_that_says_gone_is_enough_and_without_any_nobody_is_here(tables: Tables) -> None:
    name = await somebody(tables)
    async with transaction(tables.worker) as session:
        assert await vouch(session, {name: True}, source="scim") == {name: True}
        assert await vouch(session, {name: True}, source="policy") == {}
        assert await vouch(session, {name: False}, source="slack:T1") == {name: False}
        assert await vouch(session, {name: True}, source="scim") == {}, "another source's word does not bring anybody back"
    assert not await is_active(tables, name)
    async with reading(tables.web) as session:
        assert await find_sources(session, name, active=False) == ["slack:T1"]
        assert await find_sources(session, name, active=True) == ["scim", "policy"]
    async with transaction(tables.worker) as session:
        assert await forget_vouchers(session, source="slack:T1", active=False, people=[name]) == {name: True}
        await forget_vouchers(session, source="scim", active=True, people=[name])
        assert await forget_vouchers(session, source="policy", active=True, people=[name]) == {name: False}
    assert not await is_active(tables, name)


async def test_who_is_gone_loses_tokens_and_sessions_in_the_same_transaction(tables: Tables) -> None:
    name = await somebody(tables)
    async with transaction(tables.worker) as session:
        await vouch(session, {name: True}, source="scim")
        values = [await issue_token(session, kind=kind, person=name, label="t", scopes=(), lifetime=600) for kind in ("api", "session")]
    async with transaction(tables.worker) as session:
        await vouch(session, {name: False}, source="scim")
        assert await find_token(session, values[0], kind="api") is None
        assert await find_token(session, values[1], kind="session") is None
        assert await end_tokens(session, [name]) == 0


async def test_leavers_are_taken_once_and_whoever_comes_back_is_none(tables: Tables) -> None:
    one, other = await somebody(tables), await somebody(tables)
    async with transaction(tables.worker) as session:
        await take_leavers(session, limit=1_000)
        await vouch(session, {one: True, other: True}, source="scim")
        await vouch(session, {one: False, other: False}, source="scim")
        await vouch(session, {other: True}, source="scim")
        assert await take_leavers(session, limit=10) == [one]
        assert await take_leavers(session, limit=10) == []
    await tables.execute("UPDATE people SET active = true WHERE name = :name", name=one)
    await tables.execute("UPDATE people SET active = false WHERE name = :name", name=one)
    async with transaction(tables.worker) as session:
        assert await take_leavers(session, limit=10) == [one], "whoever deactivates them"


async def test_a_source_says_its_memberships_whole_and_leaves_the_others_alone(tables: Tables) -> None:
    ada, group, own = await somebody(tables), f"g{uuid4().hex[:8]}", f"s{uuid4().hex[:8]}"
    async with transaction(tables.worker) as session:
        added, removed = await sync_memberships(session, {(ada, group), (ada, "b")}, source=own)
        assert sorted(one.group for one in added) == sorted([group, "b"])
        await sync_memberships(session, {(ada, group)}, source=f"{own}-2")
        assert await sync_memberships(session, {(ada, group), (ada, "b")}, source=own) == ([], [])
        added, removed = await sync_memberships(session, set(), source=own)
        assert (added, sorted(one.group for one in removed)) == ([], sorted([group, "b"]))
        assert [(one.group, one.source) for one in await find_memberships(session, ada)] == [(group, f"{own}-2")]
        person = await find_person(session, ada)
    assert person is not None
    assert person.groups == {group}


async def test_policy_speaks_for_its_own_people_only(tables: Tables) -> None:
    name = await somebody(tables)
    async with transaction(tables.worker) as session:
        await vouch(session, {name: True}, source="scim")
        await sync_memberships(session, {(name, "fed")}, source="scim")
        await save_people(session, {name: {"groups": ["mine"]}})
        await save_people(session, {})
        person = await find_person(session, name)
        assert person is not None
        assert (person.active, set(person.groups)) == (True, {"fed"}), "the directory still says that they are here"
        await save_people(session, {name: {"active": False, "groups": ["mine"]}})
        person = await find_person(session, name)
        assert person is not None
        assert not person.active, "policy may keep somebody out whatever a directory says"


async def test_the_web_may_write_none_of_it(tables: Tables) -> None:
    for sql in (
        "INSERT INTO vouchers (person, source, active) VALUES ('eve', 'scim', true)",
        "UPDATE vouchers SET active = true",
        "DELETE FROM vouchers",
        "INSERT INTO directory_people (resource, person) VALUES (gen_random_uuid(), 'max')",
        "UPDATE directory_people SET person = 'eve'",
        "UPDATE directory_feed SET applied_at = now()",
        "INSERT INTO directory_feed (resource, kind, version, applied_at) VALUES (gen_random_uuid(), 'User', 1, now())",
        "DELETE FROM directory_feed",
        "UPDATE directories SET due_at = now()",
        "UPDATE people SET leaving = false",
    ):
        assert not await tables.may("web", sql), sql


async def test_the_web_makes_and_changes_no_token_of_a_directory(tables: Tables) -> None:
    async with transaction(tables.worker) as session:
        value = await issue_token(session, kind="scim", person=None, label="hr", scopes=(), lifetime=600)
    insert = "INSERT INTO tokens (id, hash, kind, label, scopes, expires_at)"
    insert += " VALUES (gen_random_uuid(), 'x', {}, 'x', '{{}}', now() + interval '1h')"
    assert not await tables.may("web", insert.format("'scim'"))
    assert await tables.may("web", insert.format("'api'"))
    for sql in (
        "UPDATE tokens SET hash = 'x' WHERE kind = 'scim'",
        "UPDATE tokens SET expires_at = now() + interval '9 years' WHERE kind = 'scim'",
    ):
        assert not await tables.may("web", sql), sql
    async with transaction(tables.web) as session:
        api = await issue_token(session, kind="api", person="ada", label="x", scopes=(), lifetime=600)
        assert await find_token(session, value, kind="scim") is not None
        assert await find_token(session, api, kind="api") is not None
    assert not await tables.may("web", "UPDATE tokens SET kind = 'scim' WHERE kind = 'api'")
