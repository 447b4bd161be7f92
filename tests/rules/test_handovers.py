"""What a test wrote is gone for the next one, and a database that cannot be put in order is not handed over."""

from contextlib import aclosing

import pytest
from sqlalchemy import make_url, text

from kit.servers import TEMPLATE, Servers
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from tests.handovers import Handover
from tests.hubs import disposing

PEOPLE = "SELECT count(*) FROM people JOIN memberships ON person = name WHERE email <> name"
ROUND = "SELECT nextval(pg_get_serial_sequence('runs', 'number'))"


def name(urls: DatabaseUrls) -> str | None:
    return make_url(urls.owner).database


async def read(urls: DatabaseUrls, statement: str) -> int:
    async with disposing(open_engine(urls.owner, name="test", pool=1, door=False)) as engine, reading(engine) as session:
        return int((await session.execute(text(statement))).scalar_one())


async def write(urls: DatabaseUrls, statement: str) -> None:
    async with disposing(open_engine(urls.owner, name="test", pool=1, door=False)) as engine, transaction(engine) as session:
        await session.execute(text(statement))


async def test_the_next_test_finds_what_was_there_first(servers: Servers, cast_database: str) -> None:
    async with aclosing(Handover(servers, cast_database)) as databases:
        async with databases.lent() as first:
            cast, number = await read(first, PEOPLE), await read(first, ROUND)
            await write(
                first, "WITH gone AS (DELETE FROM memberships WHERE person = 'eve' OR person = 'ada') UPDATE people SET email = name"
            )
            await write(first, "UPDATE clock SET shift = interval '1 day'")
        async with databases.lent() as second, databases.lent() as beside:
            assert (name(second), name(beside) == name(first)) == (name(first), False)
            assert await read(second, PEOPLE) == cast > 1
            assert await read(second, ROUND) == number
            assert await read(second, "SELECT count(*) FROM clock WHERE shift <> interval '0'") == 0


@pytest.mark.parametrize(
    "change", ["ALTER TABLE people DISABLE TRIGGER USER", "CREATE TABLE more ()", "DROP FUNCTION countersign_now CASCADE"]
)
async def test_what_a_test_changed_in_the_making_is_not_handed_over(servers: Servers, change: str) -> None:
    async with aclosing(Handover(servers, TEMPLATE)) as databases:
        async with databases.lent() as first:
            await write(first, change)
        async with databases.lent() as second:
            assert name(second) != name(first)


async def test_nor_is_one_to_which_somebody_is_connected(servers: Servers) -> None:
    async with aclosing(Handover(servers, TEMPLATE)) as databases:
        async with databases.lent() as first:
            left = open_engine(first.web, name="eve", pool=1, door=False)
            connection = await left.connect()
        async with databases.lent() as second:
            assert name(second) != name(first)
        await connection.invalidate()
        await left.dispose()
