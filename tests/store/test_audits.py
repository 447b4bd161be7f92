"""Recording: what the database adds to an event, what it refuses, and how events are found again."""

import hashlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from store.audits import INSERT_EVENT, AuditEvent, find_trail, record, search
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from store.migrating import check
from tests.store.records import Record, opened, plain

CHANGES: list[LiteralString] = [
    "UPDATE audit_events SET canonical = canonical",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events CASCADE",
    "UPDATE audit_leaves SET position = position",
    "DELETE FROM audit_leaves",
    "TRUNCATE audit_leaves",
    "UPDATE audit_blocks SET count = count",
    "DELETE FROM audit_blocks",
    "TRUNCATE audit_blocks",
]
LIES = [
    '{"kind":"k","actor":"ada","at":"2001-01-01"}',
    '{"kind":"k","actor":"ada","at_us":1}',
    '{"kind":"k","actor":"ada","id":"1"}',
    '["kind"]',
    ' {"kind":"k","actor":"ada"}',
    '{"kind":"k","actor":"ada"',
    '{"actor":"ada"}',
    '{"kind":"k"}',
    "{}",
]


@pytest.fixture
async def log(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Record]:
    async with opened(database, tmp_path) as made:
        yield made


async def test_an_event_is_stored_with_its_id_its_time_and_the_hash_of_its_text(log: Record) -> None:
    run = uuid4()
    before = datetime.now(UTC)
    async with transaction(log.engine) as session:
        await record(session, [AuditEvent("run:submitted", "ada", run, {"digest": "abc"})])
        (row,) = await find_trail(session, run)
    ((canonical, leaf, at_us),) = log.query("SELECT canonical, leaf, at_us FROM audit_events")
    written = json.loads(canonical)
    assert list(written) == ["id", "at_us", "at", "kind", "actor", "run", "detail", "payload"]
    assert canonical.startswith(f'{{"id":"{row.id}","at_us":{at_us},"at":"')
    assert datetime.fromisoformat(written["at"]) == row.at
    assert leaf == hashlib.sha256(b"\0" + canonical.encode()).digest()
    assert (row.kind, row.actor, row.run, row.detail) == ("run:submitted", "ada", run, {"digest": "abc"})
    assert before - timedelta(seconds=5) < row.at < datetime.now(UTC) + timedelta(seconds=5)


async def test_any_statement_can_record_in_itself(log: Record) -> None:
    run = uuid4()
    statement = f"""WITH done AS (SELECT cast(:run AS uuid) AS id), noted AS ({INSERT_EVENT}
        SELECT gen_random_uuid(), json_build_object('kind', 'run:queued', 'actor', 'lin', 'run', d.id, 'detail',
        jsonb_build_object('because', cast(:because AS text)))::text FROM done d) SELECT id FROM done"""  # noqa: S608 a constant
    async with transaction(log.engine) as session:
        await session.execute(text(statement), {"run": run, "because": 'she said "yes"\n'})
        (row,) = await find_trail(session, run)
    assert (row.kind, row.actor, row.detail) == ("run:queued", "lin", {"because": 'she said "yes"\n'})


async def test_what_strangers_send_never_makes_recording_fail(log: Record) -> None:
    strange = {"nul": "a\0b", "backslash": "\\u0000", "both": "\\\0", "half": "\ud83d", "whole": "🚀", "line": "\u2028\x1f"}
    async with transaction(log.engine) as session:
        await record(session, [AuditEvent("refused", "eve", None, strange)])
        (row,) = await search(session)
    assert row.detail == strange | {"nul": "a\ufffdb", "both": "\\\ufffd", "half": "?"}


async def test_a_text_that_would_lie_about_itself_is_refused(log: Record) -> None:
    for canonical in LIES:
        with psycopg.connect(plain(log.urls.web)) as web, pytest.raises(psycopg.Error):
            web.execute("INSERT INTO audit_events (id, canonical) VALUES (gen_random_uuid(), %s)", [canonical])
    assert log.query("SELECT * FROM audit_events") == []


async def test_the_running_roles_choose_nothing_but_id_and_text(log: Record) -> None:
    statement = psycopg.sql.SQL("INSERT INTO audit_events (id, canonical, {}) OVERRIDING SYSTEM VALUE VALUES (%s, %s, '1')")
    for url, column in product((log.urls.web, log.urls.worker), ("seq", "leaf", "at_us", "kind")):
        with psycopg.connect(plain(url)) as role, pytest.raises(psycopg.Error):
            role.execute(statement.format(psycopg.sql.Identifier(column)), [uuid4(), '{"kind":"k","actor":"ada"}'])


async def test_nobody_changes_what_was_recorded(log: Record) -> None:
    await log.fill(blocks=1, events=2)
    roles = {log.urls.web: "permission denied", log.urls.worker: "permission denied", log.urls.owner: "is insert-only"}
    for change, (url, why) in product(CHANGES, roles.items()):
        with psycopg.connect(plain(url)) as role, pytest.raises(psycopg.errors.InsufficientPrivilege, match=why):
            role.execute(change)
    assert log.verify().problems == []


async def test_the_web_records_but_neither_seals_nor_empties_the_queue(log: Record) -> None:
    web = open_engine(log.urls.web, name="test", pool=1, door=True)
    async with transaction(web) as session:
        await record(session, [AuditEvent("run:submitted", "ada")])
    for statement in (
        "INSERT INTO audit_blocks VALUES (1, '', '', 1, 1, 1, 1, '', '')",
        "INSERT INTO audit_leaves SELECT id, 1, 0, leaf FROM audit_events",
        "DELETE FROM audit_unsealed",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with transaction(web) as session:
                await session.execute(text(statement))
    await web.dispose()
    assert len(await log.seal()) == 1


async def test_an_event_that_is_rolled_back_was_never_there(log: Record) -> None:
    async def changes_her_mind() -> None:
        async with transaction(log.engine) as session:
            await record(session, [AuditEvent("run:submitted", "ada")])
            raise RuntimeError("Ada changed her mind")

    with pytest.raises(RuntimeError, match="changed her mind"):
        await changes_her_mind()
    await log.tell(1)
    assert len(await log.seal()) == 1
    report = log.verify()
    assert (report.rows, report.problems) == (1, [])


async def test_a_trail_is_one_run_in_the_order_of_events(log: Record) -> None:
    run = uuid4()
    await log.tell(3)
    for kind in ("run:submitted", "run:queued", "run:running", "run:succeeded"):
        async with transaction(log.engine) as session:
            await record(session, [AuditEvent(kind, "ada", run), AuditEvent(f"{kind}:noted", "ada", run)])
    async with reading(log.engine) as session:
        kinds = [row.kind for row in await find_trail(session, run)]
    assert kinds[::2] == ["run:submitted", "run:queued", "run:running", "run:succeeded"]
    assert kinds[1::2] == [f"{kind}:noted" for kind in kinds[::2]]


async def test_searching_pages_through_everything_newest_first(log: Record) -> None:
    run = uuid4()
    await log.tell(12, run=run)
    await log.tell(9)
    seen: list[UUID] = []
    async with reading(log.engine) as session:
        page = await search(session, limit=5)
        while page:
            seen += [row.id for row in page]
            page = await search(session, limit=5, before=page[-1].cursor)
        assert len(await search(session, actor="ada")) == 3 + 3
        assert len(await search(session, actor="ada", run=run)) == 3
        assert len(await search(session, kind="run:submitted", run=run, limit=1000)) == 12
        assert await search(session, kind="unknown") == []
        for limit in (0, 1001):
            with pytest.raises(ValueError, match="limit must be between 1 and 1000"):
                await search(session, limit=limit)
    assert seen == [event for (event,) in log.query("SELECT id FROM audit_events ORDER BY seq DESC")]


def test_models_and_migrations_agree(database: DatabaseUrls) -> None:
    check(database.owner)
