"""Runs and events are found by their words, whether a housekeeper has taken them in or not, and whoever records pays nothing for it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from countersign.runs import RunStatus
from store.audits import AuditEvent, record
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.listings import Wanted, find_listed
from store.runs import Move
from store.sealing import load_or_create_key, seal
from store.searches import BLOCKS, Words, find_lag, find_places, index_blocks, lexemes
from tests.store.tables import Tables, open_tables


@pytest.fixture
async def tables(database: DatabaseUrls) -> AsyncIterator[Tables]:
    async with open_tables(database) as made:
        yield made


async def take_in(tables: Tables, folder: Path) -> None:
    """Everything is sealed and indexed, as housekeepers do it."""
    signer = load_or_create_key(folder / "keys" / "audit.pem")
    while True:
        async with transaction(tables.worker) as session:
            if await seal(session, signer) is None:
                break
    while True:
        async with transaction(tables.worker) as session:
            if await index_blocks(session) < BLOCKS:
                break


async def listed(tables: Tables, **wanted: object) -> list[str]:
    async with reading(tables.web) as session:
        return [one.arguments["service"] for one in await find_listed(session, Wanted(**wanted))]  # type: ignore[arg-type]


async def places(tables: Tables, typed: str = "", **more: object) -> int:
    async with reading(tables.web) as session:
        values: dict[str, object] = {"before": None, "since_us": None, "until_us": None, "limit": 50}
        return len(await find_places(session, Words(typed), **values | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("indexed", ["before", "after", "half"])
async def test_a_run_is_found_by_any_of_its_words(tables: Tables, tmp_path: Path, indexed: str) -> None:
    await tables.run(arguments={"service": "api-v2", "env": "Prod", "turns": 3}, reason="OPS-12 for ada@example.test")
    if indexed == "half":
        await take_in(tables, tmp_path)
    await tables.run(RunStatus.planning, RunStatus.queued, arguments={"service": "web", "env": "staging"}, command="roll out", door="slack")
    await tables.run(arguments={"service": "it's \\ 'odd' & | ! (x)", "tags": ["a", "b"], "code": {"$secret": "mark99"}})
    if indexed == "after":
        await take_in(tables, tmp_path)
    both = ["web", "api-v2"]
    assert await listed(tables, words="api-v2") == await listed(tables, words="API-V") == await listed(tables, words="v2") == ["api-v2"]
    assert await listed(tables, words="ops-12") == await listed(tables, words="ada@exam") == ["api-v2"]
    assert await listed(tables, words="env=prod") == await listed(tables, arguments={"env": "Prod", "turns": "3"}) == ["api-v2"]
    assert await listed(tables, words="env=") == both
    assert await listed(tables, words="deploy staging") == []
    assert await listed(tables, words="roll stag") == ["web"]
    assert await listed(tables, door="slack") == await listed(tables, statuses=[RunStatus.queued, RunStatus.failed]) == ["web"]
    assert await listed(tables, statuses=[RunStatus.submitted], command="deploy", words="api") == ["api-v2"]
    assert await listed(tables, arguments={"tags": "b"}) == ["it's \\ 'odd' & | ! (x)"]
    assert await listed(tables, words="odd ' & | ! ( \\ :* <->") in ([], ["it's \\ 'odd' & | ! (x)"])
    assert await listed(tables, words="mark99") == [], "what stands for a secret is not to be searched"
    assert await listed(tables, words="=status:queued") == ["web"], "an exact word does no harm to whoever types it"
    assert await listed(tables, words="---") == []
    assert await listed(tables, door="slack", askers=[]) == []


async def test_what_moved_is_found_where_it_is_now(tables: Tables, tmp_path: Path) -> None:
    run = await tables.run()
    await take_in(tables, tmp_path)
    await tables.moved(Move(run, RunStatus.planning, by="test"))
    assert await listed(tables, statuses=[RunStatus.submitted]) == []
    assert await listed(tables, statuses=[RunStatus.planning]) == ["api"]
    await take_in(tables, tmp_path)
    assert await listed(tables, statuses=[RunStatus.submitted]) == []
    assert await listed(tables, statuses=[RunStatus.planning]) == ["api"]


@pytest.mark.parametrize("indexed", [True, False])
async def test_pages_and_days_bound_what_is_found(tables: Tables, tmp_path: Path, indexed: bool) -> None:
    for n in range(5):
        await tables.run(arguments={"service": str(n)}, door="slack")
    if indexed:
        await take_in(tables, tmp_path)
    now = datetime.now(UTC)
    async with reading(tables.web) as session:
        first = await find_listed(session, Wanted(door="slack"), limit=2)
        second = await find_listed(session, Wanted(door="slack"), before=first[-1].number, limit=9)
    assert [one.arguments["service"] for one in (*first, *second)] == ["4", "3", "2", "1", "0"]
    for more in ({}, {"door": "slack"}):
        assert len(await listed(tables, since=now - timedelta(minutes=5), **more)) == 5
        assert await listed(tables, since=now + timedelta(minutes=5), **more) == []
        assert await listed(tables, until=now - timedelta(minutes=5), **more) == []
        assert len(await listed(tables, until=now + timedelta(minutes=5), since=now - timedelta(days=400), **more)) == 5


async def test_events_are_found_by_their_words(tables: Tables, tmp_path: Path) -> None:
    digest, run = "ab12" * 16, await tables.run()
    evil = ["x", {"arguments": ["a"]}, {"arguments": {"a" * 500: "b" * 5000}, "reason": "z" * 40_000}]
    async with transaction(tables.web) as session:
        await record(session, [AuditEvent("grant:made", "max", run, {"role": "sre", "person": "eve", "digest": digest})])
        for one in evil:
            await session.execute(
                text("INSERT INTO audit_events (id, canonical) VALUES (:id, json_build_object('kind', cast(:kind AS text), 'actor', 'x',"
                     " 'run', null, 'detail', cast(:detail AS jsonb))::text)"),
                {"id": uuid4(), "kind": "k" * 5000, "detail": json.dumps(one)},
            )  # fmt: skip
    for _ in range(2):
        assert await places(tables, "eve sre") == await places(tables, digest) == await places(tables, "grant:made") == 1
        assert await places(tables, "service=api") == 1
        assert await places(tables, "eve nobody") == 0
        async with reading(tables.web) as session:
            exact = Words("", [lexemes("kind", ["grant:made"]), lexemes("actor", ["max", "lin"])])
            (place,) = await find_places(session, exact, before=None, since_us=None, until_us=None, limit=5)
        assert await places(tables, "eve", since_us=place[0]) == 1
        assert await places(tables, "eve", since_us=place[0] + 1) == await places(tables, "eve", until_us=place[0]) == 0
        assert await places(tables, "eve", before=place) == 0
        await take_in(tables, tmp_path)
    async with reading(tables.web) as session:
        assert await find_lag(session) == 0


@pytest.mark.parametrize("indexed", [True, False])
async def test_events_come_in_pages_from_the_newest_on(tables: Tables, tmp_path: Path, indexed: bool) -> None:
    async with transaction(tables.web) as session:
        await record(session, [AuditEvent("grant:made", "max", None, {"role": f"sre{n}"}) for n in range(5)])
    if indexed:
        await take_in(tables, tmp_path)
    async with reading(tables.web) as session:
        everything = await find_places(session, Words("sre"), before=None, since_us=None, until_us=None, limit=9)
        first = await find_places(session, Words("sre"), before=None, since_us=None, until_us=None, limit=2)
        second = await find_places(session, Words("sre"), before=first[-1], since_us=None, until_us=None, limit=2)
    assert len(everything) == 5
    assert [*first, *second] == sorted(everything, reverse=True)[:4]


async def test_the_index_costs_births_and_moves_nothing(tables: Tables) -> None:
    async with reading(tables.owner) as session:
        touched = await session.scalars(text("SELECT tgname FROM pg_trigger WHERE tgrelid IN ('runs'::regclass, 'audit_events'::regclass)"
                                             " AND NOT tgisinternal"))  # fmt: skip
        assert sorted(touched) == ["audit_events_fade", "audit_events_insert_only", "audit_events_stamp"]
    await tables.run(RunStatus.planning)
    async with reading(tables.owner) as session:
        for table in ("run_searches", "event_searches"):
            assert (await session.scalars(text(f"SELECT count(*) FROM {table}"))).one() == 0  # noqa: S608
