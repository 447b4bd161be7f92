"""The web process is taken over, staff with keys help, and 1,000 attempts are made: nothing critical runs without its passkey holders."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automations.planning import plan_runs
from bot.deadlines import answering
from countersign.invocations import Door, Invocation, Place
from store.audits import AuditRow, find_trail
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from store.grants import find_grants
from store.passkeys import find_all_passkeys, find_passkeys, revoke_passkey
from store.people import find_person
from store.policies import find_digest
from tests.fakes.authenticators import Authenticator, Key
from tests.hubs import disposing
from tests.stories.attempts import ATTEMPTS, HOLDERS
from tests.stories.raids import Mark, Raid
from tests.stories.vaults import POLICY, enrolled, open_vault

TRIES = 1_000
LANES = 4
# How soon a door answers is shown elsewhere; here a busy machine must not end an attempt before it was made.
PATIENCE_SECONDS = 600.0
EVERYBODY = ("max", "lin", "kim", "eve", "ada", "moe")


@pytest.fixture
async def raid(database: DatabaseUrls, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Raid]:
    async with (
        open_vault(database, redis_url, tmp_path) as lodge,
        disposing(open_engine(database.web, name="raid", pool=LANES, door=False)) as web,
    ):
        with answering(PATIENCE_SECONDS):
            await enrolled(lodge, monkeypatch, *EVERYBODY)
            raid = Raid(lodge, web, Random(7))
            raid.loot["policy"] = POLICY
            await _revoke_second_keys(raid)
            await _carry_one_out(raid, tmp_path)
        lodge.fresh = False
        yield raid


async def _revoke_second_keys(raid: Raid) -> None:
    """Each holder had another key, which was lost."""
    raid.loot["revoked"] = {}
    admin = await raid.lodge.holder("max")
    for name in HOLDERS:
        holder = await raid.lodge.holder(name)
        first = set(holder.authenticator.keys)
        asked = await holder.enrol("lost key")
        await raid.lodge.settle()
        await admin.decide(asked["run"]["id"])
        await raid.lodge.settle()
        [lost] = set(holder.authenticator.keys) - first
        async with raid.lodge.services.transaction() as session:
            [row] = [one for one in await find_passkeys(session, [name]) if one.credential == lost]
            await revoke_passkey(session, row.id, by=name)
        raid.loot["revoked"][name] = holder.authenticator.keys.pop(lost)


async def _carry_one_out(raid: Raid, folder: Path) -> None:
    """One run as it should be; its signatures are loot, and so are copies of the keys as they were then."""
    where = str(folder / "rightly")
    mark = await raid.asked("erase", "ada", where=where, what="everything")
    assert mark is not None
    proofs: dict[str, Any] = {}
    for name in HOLDERS:
        holder = await raid.lodge.holder(name)
        body = await holder.sign(mark.id)
        assert (await holder.send(mark.id, body)).status_code == 200
        proofs[name] = body["assertion"]
    await raid.lodge.settle()
    assert burnt(mark) == "everything\n", "rightly signed, it is carried out"
    raid.loot |= {"mark": mark, "done": proofs, "copies": {name: await _copied(raid, name) for name in HOLDERS}}


def burnt(mark: Mark) -> str:
    """What the run's step has written."""
    file = Path(mark.where)
    return file.read_text() if file.exists() else ""


async def _copied(raid: Raid, name: str) -> Key:
    [key] = (await raid.lodge.holder(name)).authenticator.keys.values()
    return replace(key)


async def _marks(raid: Raid, folder: Path, count: int) -> list[Mark]:
    """Requests that wait for their holders."""
    async with reading(raid.web) as session:
        ada = await find_person(session, "ada")
    assert ada is not None
    runs: dict[UUID, str] = {}
    for n in range(count):
        where = str(folder / f"burnt-{n}")
        arguments = {"where": where, "what": "everything"}
        one = Invocation(key=str(uuid4()), door=Door.api, place=Place("api"), command="erase", arguments=arguments)
        answer = await raid.lodge.web.hub.submit(ada, one)
        assert answer.run_id is not None
        runs[answer.run_id] = where
    for start in range(0, count, 50):
        await plan_runs(raid.lodge.services, list(runs)[start : start + 50])
    return await raid.marks(runs)


async def _try(raid: Raid, marks: Sequence[tuple[int, Mark]], events: dict[str, int]) -> set[str]:
    """One attempt on each of these runs; returns those of which Postgres refused a part. `events` were recorded before."""
    refused: set[str] = set()
    for n, mark in marks:
        attempt = ATTEMPTS[n % len(ATTEMPTS)]
        raid.refused, events[mark.id] = 0, await raid.events(mark)
        await attempt(raid, mark)
        await raid.lodge.settle()
        assert not burnt(mark), f"{attempt.__name__} has it carried out"
        refused |= {mark.id} if raid.refused else set()
    return refused


@pytest.mark.timeout(600)
async def test_a_thousand_attempts_without_the_holders(raid: Raid, tmp_path: Path) -> None:
    marks = await _marks(raid, tmp_path, TRIES)
    assert len(marks) == TRIES
    async with reading(raid.web) as session:
        before = (await find_digest(session), {one.id for one in await find_all_passkeys(session)})
    lanes = [replace(raid, dice=Random(lane), own=Authenticator()) for lane in range(LANES)]
    events: dict[str, int] = {}
    with answering(PATIENCE_SECONDS):
        refused = await asyncio.gather(*(_try(one, list(enumerate(marks))[lane::LANES], events) for lane, one in enumerate(lanes)))
    await raid.lodge.settle()
    loud = [one for one in marks if any(one.id in some for some in refused) or await raid.events(one) > events[one.id]]
    assert [ATTEMPTS[n % len(ATTEMPTS)].__name__ for n, one in enumerate(marks) if one not in loud] == [], "attempts without a trace"
    assert [one.where for one in marks if burnt(one)] == []
    assert burnt(raid.loot["mark"]) == "everything\n", "and nothing is done twice"
    async with reading(raid.web) as session:
        assert (await find_digest(session), {one.id for one in await find_all_passkeys(session)}) == before
        assert await find_grants(session, subject="eve") == []
        ended = "SELECT count(*) FROM audit_events e JOIN runs r ON r.id = e.run_id WHERE e.kind = 'run:succeeded' AND r.command = 'erase'"
        assert (await session.execute(text(ended))).scalar_one() == 1


async def test_the_same_hands_carry_out_what_both_holders_signed(raid: Raid, tmp_path: Path) -> None:
    """Otherwise the thousand would prove nothing: it is the missing signatures that stop them."""
    [mark] = await _marks(raid, tmp_path, 1)
    for name in HOLDERS:
        await raid.vote(mark, name, await raid.signed(mark, name))
    await raid.push(mark)
    await raid.lodge.settle()
    assert burnt(mark)


async def test_an_approval_does_not_keep_whatever_its_row_says(raid: Raid, tmp_path: Path) -> None:
    """Both signed, no worker came for three days, and the raider gives the request another year."""
    [mark] = await _marks(raid, tmp_path, 1)
    for name in HOLDERS:
        await (await raid.lodge.holder(name)).decide(mark.id)
    async with disposing(raid.lodge.world.engine(role="owner")) as owner, transaction(owner) as session:
        await session.execute(text("UPDATE clock SET shift = shift + interval '3 days'"))
    for column in ("opened_at", "expires_at", "valid_until"):
        await raid.sql(f"UPDATE approval_requests SET {column} = countersign_now() + interval '1 year' WHERE id = :id", id=mark.request)  # noqa: S608
    await raid.push(mark)
    await raid.lodge.settle()
    assert not burnt(mark)
    assert "run:stale" in {row.kind for row in await _trail(raid, mark)}


async def _trail(raid: Raid, mark: Mark) -> list[AuditRow]:
    async with reading(raid.web) as session:
        return await find_trail(session, UUID(mark.id))
