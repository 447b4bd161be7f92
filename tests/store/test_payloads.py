"""What an event says about people can be gone, and the chain holds; if nothing in the record erased it, that is found."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from store.audits import AuditEvent, find_trail, record
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from tests.store.records import Record, opened


@pytest.fixture
async def log(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Record]:
    async with opened(database, tmp_path) as made:
        made.tamper("INSERT INTO people (name) VALUES ('ada'), ('max'); INSERT INTO people (name, service) VALUES ('nightly', true)")
        yield made


async def tell(log: Record, *events: AuditEvent) -> None:
    async with transaction(log.engine) as session:
        await record(session, events)


def id_of(log: Record, kind: str) -> UUID:
    ((found,),) = log.query("SELECT id FROM audit_events WHERE kind = %s", kind)
    return UUID(str(found))


async def test_what_is_hashed_names_nobody_and_repeats_nothing_that_anybody_typed(log: Record) -> None:
    run = uuid4()
    detail = {"digest": "d1", "revision": 1, "verdict": "approve", "reason": "my doctor said so", "arguments": {"to": "ada"}}
    await tell(log, AuditEvent("decision:approve", "ada", run, detail), AuditEvent("decision:approve", "ada", run, detail))
    texts = [text for (text,) in log.query("SELECT canonical FROM audit_events ORDER BY seq")]
    ((alias,),) = log.query("SELECT alias FROM people WHERE name = 'ada'")
    for text in texts:
        assert '"ada"' not in text
        assert "doctor" not in text
        written = json.loads(text)
        assert (written["actor"], written["run"]) == (alias, str(run))
        assert written["detail"] == {"digest": "d1", "revision": 1, "verdict": "approve"}
    assert json.loads(texts[0])["payload"] != json.loads(texts[1])["payload"], "the same words have another digest each time"
    async with reading(log.engine) as session:
        assert [(one.actor, one.detail, one.erased) for one in await find_trail(session, run)] == [("ada", detail, False)] * 2


@pytest.mark.parametrize(("actor", "text"), [("countersign", "countersign"), ("nobody", "nobody"), ("nightly", "nightly")])
async def test_who_is_no_person_keeps_the_name(log: Record, actor: str, text: str) -> None:
    await tell(log, AuditEvent("x", actor))
    ((written, shown),) = log.query("SELECT canonical, actor FROM audit_events")
    assert (json.loads(written)["actor"], shown) == (text, actor)


async def test_a_stranger_is_somebody(log: Record) -> None:
    await tell(log, AuditEvent("request:refused", "slack:T1:U77", None, {"reason": "unlinked"}))
    ((written, shown),) = log.query("SELECT canonical, actor FROM audit_events")
    assert ("U77" in written, json.loads(written)["actor"], shown) == (False, "somebody", "slack:T1:U77")


async def test_a_payload_that_is_gone_is_found_unless_the_record_erased_it(log: Record) -> None:
    run, erasing = uuid4(), uuid4()
    await tell(
        log,
        AuditEvent("decision:approve", "ada", run, {"digest": "d1", "reason": "secret"}),
        AuditEvent("run:submitted", "max", erasing, {"command": "people erase", "arguments": {"person": "ada"}}),
        AuditEvent("run:submitted", "max", run, {"command": "deploy"}),
    )
    await tell(log, AuditEvent("run:running", "countersign", erasing), AuditEvent("run:running", "countersign", run))
    await log.seal()
    lost = id_of(log, "decision:approve")
    assert log.verify().problems == []
    log.tamper("UPDATE audit_events SET payload = replace(payload, 'secret', 'Secret') WHERE id = %(id)s", values={"id": lost})
    assert log.verify().problems == [f"audit event {lost} in block 1, position 0: its payload was changed after it was recorded"]
    log.tamper("UPDATE audit_events SET payload = NULL, salt = NULL WHERE id = %(id)s", values={"id": lost})
    gone = f"audit event {lost} in block 1, position 0: its payload is gone, and nothing in the record erased it"
    assert log.verify().problems == [gone]
    for lie in (
        AuditEvent("payload:erased", "max", run, {"events": [str(lost)]}),
        AuditEvent("payload:erased", "max", None, {"events": [str(lost)]}),
        AuditEvent("payload:erased", "countersign", None, {"events": [str(lost)], "days": 30}),
        AuditEvent("payload:erased", "countersign", None, {"events": str(lost), "days": "x"}),
        *(AuditEvent("payload:erased", "countersign", None, {"events": [str(lost)], "days": days}) for days in (-40, 0, 1, 30.5, [30])),
        AuditEvent("payload:erased", "max", erasing, {"events": [str(erasing)]}),
    ):
        await tell(log, lie)
        assert log.verify().problems == [gone], lie
    await tell(log, AuditEvent("payload:erased", "max", erasing, {"events": [str(lost)]}))
    report = log.verify()
    ((alias,),) = log.query("SELECT alias FROM people WHERE name = 'max'")
    assert report.problems == []
    assert [one.partition(" on ")[0] for one in report.erased] == ["1 payload was erased"]
    assert report.erased[0].endswith((f" by max under run {erasing}", f" by {alias} under run {erasing}"))
    async with reading(log.engine) as session:
        (first, *_) = await find_trail(session, run)
    assert (first.erased, first.detail) == (True, {"digest": "d1"})
    log.tamper("UPDATE audit_events SET canonical = replace(canonical, 'd1', 'd2') WHERE id = %(id)s", values={"id": lost})
    assert any(str(lost) in one for one in log.verify().problems), "what is left of it is proven as before"
