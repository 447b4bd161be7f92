"""Keys are added by workers once, end for good, and what they signed is remembered; challenges are spent once, in time, by their person."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from store.databases import reading, transaction
from store.passkeys import (
    MOST_CHALLENGES,
    NewPasskey,
    add_challenge,
    add_passkey,
    find_all_passkeys,
    find_holders,
    find_passkey,
    find_passkeys,
    find_uses,
    record_uses,
    revoke_passkey,
    spend_challenge,
    were_enrolled,
)
from tests.store.tables import Tables


async def added(tables: Tables, person: str, credential: bytes = b"") -> UUID:
    one = NewPasskey(uuid4(), credential or uuid4().bytes, b"data", person, "laptop", "localhost", 0, None)
    async with transaction(tables.worker) as session:
        assert await add_passkey(session, one)
    return one.id


async def names(tables: Tables, *people: str, revoked: bool = False) -> set[UUID]:
    async with reading(tables.web) as session:
        return {one.id for one in await find_passkeys(session, people, revoked=revoked)}


async def test_a_key_is_somebodys_until_it_is_revoked_and_never_again(tables: Tables) -> None:
    credential = uuid4().bytes
    key = await added(tables, "lin", credential)
    assert key in await names(tables, "lin", "kim")
    assert key not in await names(tables, "kim")
    async with transaction(tables.worker) as session:
        assert await revoke_passkey(session, key, by="max")
        assert not await revoke_passkey(session, key, by="max")
    assert key not in await names(tables, "lin")
    assert key in await names(tables, "lin", revoked=True)
    async with reading(tables.web) as session:
        assert key not in {one.id for one in await find_all_passkeys(session)}
        found = await find_passkey(session, credential)
        assert found is not None
        assert (found.id, found.person, found.revoked_at is None) == (key, "lin", False)
        assert await were_enrolled(session)
    again = NewPasskey(uuid4(), credential, b"data", "kim", "mine", "localhost", 0, None)
    async with transaction(tables.worker) as session:
        assert not await add_passkey(session, again)


async def test_who_has_a_key_in_use(tables: Tables) -> None:
    key = await added(tables, "eve")
    async with reading(tables.web) as session:
        assert "eve" in await find_holders(session)
    async with transaction(tables.worker) as session:
        await revoke_passkey(session, key, by="eve")
    async with reading(tables.web) as session:
        assert "eve" not in await find_holders(session)


async def test_one_count_is_relied_on_for_one_challenge(tables: Tables) -> None:
    key = await added(tables, "lin")

    async def relied_on(challenge: bytes, count: int) -> bool:
        async with transaction(tables.worker) as session:
            return await record_uses(session, [(key, challenge, count)])

    assert await relied_on(b"one", 5)
    assert await relied_on(b"one", 5), "a worker that begins again says the same again"
    assert not await relied_on(b"one", 6)
    assert not await relied_on(b"two", 5)
    assert await relied_on(b"two", 4)
    other = await added(tables, "lin")
    async with transaction(tables.worker) as session:
        assert await record_uses(session, [(other, b"one", 0), (other, b"two", 0)]), "synchronised keys count nothing"
    async with reading(tables.worker) as reader:
        assert {(one.challenge, one.sign_count) for one in await find_uses(reader, [key])} == {(b"one", 5), (b"two", 4)}


async def test_a_challenge_is_spent_once_in_time_by_its_person(tables: Tables) -> None:
    async def spent(challenge: bytes, person: str = "lin") -> bool:
        async with transaction(tables.web) as session:
            return await spend_challenge(session, challenge, person=person)

    async with transaction(tables.web) as session:
        for one in (b"first", b"second"):
            assert await add_challenge(session, one, person="lin")
    assert not await spent(b"first", "kim")
    assert not await spent(b"unknown")
    assert await spent(b"first")
    assert not await spent(b"first")
    await tables.execute("UPDATE clock SET shift = '600 seconds'")
    assert not await spent(b"second")


async def test_nobody_collects_challenges(tables: Tables) -> None:
    async with transaction(tables.web) as session:
        made = [await add_challenge(session, uuid4().bytes, person="kim") for _ in range(MOST_CHALLENGES + 1)]
    assert made == [True] * MOST_CHALLENGES + [False]


async def test_a_vote_that_was_taken_back_stays_taken_back(tables: Tables) -> None:
    run = await tables.run()
    request, decision = uuid4(), uuid4()
    await tables.execute(
        "INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, expires_at)"
        " VALUES (:id, :run, 1, 'd', '{}', 'p', countersign_now() + interval '1 day')",
        id=request,
        run=run,
    )
    await tables.execute(
        "INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy)"
        " VALUES (:id, :request, :run, 'lin', 'approve', '', 'd', 'api', 'p')",
        id=decision,
        request=request,
        run=run,
    )
    await tables.execute("UPDATE decisions SET withdrawn_at = countersign_now() WHERE id = :id", id=decision)
    for moment in (None, datetime(2030, 1, 1, tzinfo=UTC)):
        with pytest.raises(DBAPIError, match="stays taken back"):
            await tables.execute("UPDATE decisions SET withdrawn_at = :moment WHERE id = :id", id=decision, moment=moment)
