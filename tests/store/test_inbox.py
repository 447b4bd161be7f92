"""A request that comes twice has one effect, and its answer is remembered."""

import asyncio
from uuid import uuid4

import pytest

from store.databases import transaction
from store.inbox import find_answer, find_seen, keep_answer, take_key
from tests.store.tables import Tables


async def test_a_key_is_taken_by_the_first(tables: Tables) -> None:
    key = str(uuid4())

    async def take() -> bool:
        async with transaction(tables.web) as session:
            return await take_key(session, key)

    assert sorted(await asyncio.gather(*(take() for _ in range(8)))) == [False] * 7 + [True]


async def test_a_key_whose_transaction_failed_was_never_taken(tables: Tables) -> None:
    key = str(uuid4())
    with pytest.raises(ZeroDivisionError):
        await _taken_in_vain(tables, key)
    async with transaction(tables.web) as session:
        assert await take_key(session, key)


async def _taken_in_vain(tables: Tables, key: str) -> None:
    async with transaction(tables.web) as session:
        assert await take_key(session, key)
        raise ZeroDivisionError


async def test_an_answer_is_remembered_as_it_was(tables: Tables) -> None:
    key, other = str(uuid4()), str(uuid4())
    async with transaction(tables.web) as session:
        await take_key(session, key)
        assert await find_answer(session, key) is None
        await keep_answer(session, key, {"text": "ä\u2028 <b>", "n": [1, None, True]})
        assert await find_answer(session, key) == {"text": "ä\u2028 <b>", "n": [1, None, True]}
        assert await find_answer(session, other) is None
        assert await find_seen(session, [key, other]) == {key}
