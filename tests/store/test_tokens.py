"""Tokens: shown once, kept as hashes, each for its kind and its time."""

import asyncio

import pytest

from store.databases import reading, transaction
from store.tokens import Token, end_token, find_token, freshen, issue_token, spend_token
from tests.store.tables import Tables


async def issued(tables: Tables, *, kind: str = "api", lifetime: float = 600) -> str:
    async with transaction(tables.web) as session:
        return await issue_token(session, kind=kind, person="ada", label="test", scopes=("read", "submit"), lifetime=lifetime)


async def found(tables: Tables, value: str, *, kind: str = "api") -> Token | None:
    async with reading(tables.web) as session:
        return await find_token(session, value, kind=kind)


@pytest.mark.parametrize("kind", ["api", "session", "link"])
async def test_a_token_is_good_for_its_kind_only_and_kept_nowhere(tables: Tables, kind: str) -> None:
    value = await issued(tables, kind=kind)
    assert value.startswith(f"cs_{kind}_")
    token = await found(tables, value, kind=kind)
    assert token is not None
    assert (token.person, token.scopes) == ("ada", frozenset({"read", "submit"}))
    for other in {"api", "session", "link"} - {kind}:
        assert await found(tables, value, kind=other) is None
    for wrong in (value[:-1], value + "x", value.upper(), "", "\ud7ff"):
        assert await found(tables, wrong, kind=kind) is None
    rows = await tables.execute("SELECT t::text AS row FROM tokens t")
    assert value not in " ".join(one.row for one in rows)


async def test_a_token_ends_by_itself_or_by_somebody(tables: Tables) -> None:
    short, ended = await issued(tables, lifetime=60), await issued(tables)
    async with transaction(tables.web) as session:
        await end_token(session, ended)
    assert await found(tables, ended) is None
    assert await found(tables, short) is not None
    await tables.execute("UPDATE clock SET shift = '60 seconds'")
    assert await found(tables, short) is None


async def test_a_link_is_spent_by_the_first(tables: Tables) -> None:
    value = await issued(tables, kind="link")

    async def spend() -> Token | None:
        async with transaction(tables.web) as session:
            return await spend_token(session, value, kind="link")

    assert sum(one is not None for one in await asyncio.gather(*(spend() for _ in range(8)))) == 1
    assert await found(tables, value, kind="link") is None


async def test_a_login_is_fresh_for_five_minutes_and_an_api_token_only_after_one(tables: Tables) -> None:
    session_value, api = await issued(tables, kind="session"), await issued(tables)

    async def fresh(value: str, kind: str) -> bool:
        token = await found(tables, value, kind=kind)
        assert token is not None
        return token.fresh

    assert (await fresh(session_value, "session"), await fresh(api, "api")) == (True, False)
    await tables.execute("UPDATE clock SET shift = '300 seconds'")
    assert not await fresh(session_value, "session")
    token = await found(tables, api)
    assert token is not None
    async with transaction(tables.web) as session:
        await freshen(session, token.id)
    assert await fresh(api, "api")
