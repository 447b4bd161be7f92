"""One policy is in force, and every one that ever was stays."""

import asyncio

from store.databases import reading, transaction
from store.policies import apply_policy, find_policy
from tests.store.tables import Tables


async def in_force(tables: Tables) -> list[str]:
    return [one.digest for one in await tables.execute("SELECT digest FROM policies WHERE in_force")]


async def test_the_last_one_applied_is_in_force(tables: Tables) -> None:
    for digest in ("first", "second", "first", "first"):
        async with transaction(tables.worker) as session:
            await apply_policy(session, digest=digest, body=f"# {digest}", by="max")
        assert await in_force(tables) == [digest]
    async with reading(tables.web) as session:
        found = await find_policy(session)
    assert found is not None
    assert (found.digest, found.body, found.applied_by) == ("first", "# first", "max")
    assert len(await tables.execute("SELECT 1 FROM policies WHERE digest IN ('first', 'second')")) == 2


async def test_two_at_the_same_instant_leave_one(tables: Tables) -> None:
    async def apply(digest: str) -> None:
        async with transaction(tables.worker) as session:
            await apply_policy(session, digest=digest, body=digest, by="max")

    await asyncio.gather(*(apply(f"p{one}") for one in range(6)), return_exceptions=True)
    assert len(await in_force(tables)) == 1
