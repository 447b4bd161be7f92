"""What each role of the database may write: the process that faces the internet almost nothing, and nobody the record of what was."""

import pytest

from store.databases import PowerfulRole, refuse_powerful_role
from tests.store.tables import Tables

CHANGES = {
    "audit_events": ["UPDATE audit_events SET canonical = canonical", "DELETE FROM audit_events", "TRUNCATE audit_events CASCADE"],
    "audit_blocks": ["UPDATE audit_blocks SET root = root", "DELETE FROM audit_blocks"],
    "audit_leaves": ["UPDATE audit_leaves SET leaf = leaf", "DELETE FROM audit_leaves"],
    "policies": ["INSERT INTO policies (digest, body, applied_by) VALUES ('d', 'b', 'x')", "UPDATE policies SET in_force = false"],
    "grants": [
        "INSERT INTO grants (id, subject, role) VALUES (gen_random_uuid(), 'eve', 'admin')",
        "UPDATE grants SET role = 'admin'",
    ],
    "grant_extensions": [
        "INSERT INTO grant_extensions (id, grant_id, run_id, was, until) SELECT gen_random_uuid(), id, run_id, now(), now() FROM grants",
        "UPDATE grant_extensions SET until = now()",
        "DELETE FROM grant_extensions",
    ],
    "schedules": ["UPDATE schedules SET owner = 'eve'", "UPDATE schedules SET next_at = now()", "DELETE FROM schedules"],
    "schedule_slots": ["UPDATE schedule_slots SET state = 'waiting'", "DELETE FROM schedule_slots"],
    "people": ["INSERT INTO people (name) VALUES ('mallory')", "UPDATE people SET active = true", "DELETE FROM people"],
    "memberships": ["INSERT INTO memberships (person, \"group\") VALUES ('eve', 'admins')", "DELETE FROM memberships"],
    "steps": ["UPDATE steps SET result = '1'", "DELETE FROM steps"],
    "log_chunks": [
        "INSERT INTO log_chunks (run_id, position, size, lines) SELECT id, 0, 1, '{x}' FROM runs LIMIT 1",
        "UPDATE log_chunks SET lines = '{x}'",
        "DELETE FROM log_chunks",
    ],
    "artifacts": [
        "DELETE FROM artifacts",
        "UPDATE artifacts SET dropped_at = now()",
        "INSERT INTO artifacts SELECT gen_random_uuid(), id, 0, 'n', 't', 0, 's' FROM runs LIMIT 1",
        "UPDATE artifacts SET sha256 = 'x'",
    ],
    "decisions": ["UPDATE decisions SET verdict = 'approve'", "DELETE FROM decisions"],
    "runs": ["DELETE FROM runs"],
    "passkeys": [
        "INSERT INTO passkeys SELECT gen_random_uuid(), 'c', 'd', 'lin', 'l', 'localhost', 0",
        "UPDATE passkeys SET revoked_at = NULL",
        "UPDATE passkeys SET data = 'd'",
        "UPDATE passkeys SET person = 'lin'",
        "DELETE FROM passkeys",
    ],
    "passkey_uses": [
        "INSERT INTO passkey_uses (passkey_id, challenge, sign_count) SELECT id, 'c', 1 FROM passkeys",
        "UPDATE passkey_uses SET sign_count = 0",
        "DELETE FROM passkey_uses",
    ],
    "passkey_challenges": ["UPDATE passkey_challenges SET person = 'lin'", "UPDATE passkey_challenges SET made_at = countersign_now()"],
    "secrets": ["SELECT sealed FROM secrets", "UPDATE secrets SET sealed = ''", "DELETE FROM secrets"],
    "triggers": [
        "UPDATE triggers SET revision = 0",
        "INSERT INTO triggers SELECT * FROM triggers WHERE revision = 0",
        "DELETE FROM triggers",
    ],
    "alerts": ["UPDATE alerts SET status = 'resolved'", "INSERT INTO alerts SELECT * FROM alerts", "DELETE FROM alerts"],
    "alert_groups": ["UPDATE alert_groups SET labels = '{}'", "DELETE FROM alert_groups"],
    "alert_history": ["UPDATE alert_history SET said = 'x'", "DELETE FROM alert_history"],
    "deliveries": ["UPDATE deliveries SET state = 'done'", "UPDATE deliveries SET body = '{}'", "DELETE FROM deliveries"],
    "request_plans": [
        "INSERT INTO request_plans SELECT id, '{}' FROM approval_requests WHERE revision < 0",
        "UPDATE request_plans SET plan = '{}'",
        "DELETE FROM request_plans",
    ],
    "audit_marks": ["UPDATE audit_marks SET block = 0", "DELETE FROM audit_marks"],
    "audit_checks": ["UPDATE audit_checks SET ended_at = now()", "DELETE FROM audit_checks"],
    "run_searches": ["INSERT INTO run_searches SELECT * FROM run_searches WHERE number = 0", "UPDATE run_searches SET words = ''"],
    "event_searches": ["INSERT INTO event_searches SELECT * FROM event_searches WHERE seq = 0", "UPDATE event_searches SET words = ''"],
    "run_slots": ["INSERT INTO run_slots SELECT * FROM run_slots WHERE asked < 0", "UPDATE run_slots SET asked = 0"],
    "vote_slots": ["INSERT INTO vote_slots SELECT * FROM vote_slots WHERE denied < 0", "UPDATE vote_slots SET denied = 0"],
    "promises": ["UPDATE promises SET count = 0", "INSERT INTO promises SELECT * FROM promises", "DELETE FROM promises"],
    "counted_blocks": ["UPDATE counted_blocks SET block = 0", "DELETE FROM counted_blocks"],
    "clock": ["UPDATE clock SET shift = '1 day'", "INSERT INTO clock VALUES ('1 day')"],
    "schema": ["CREATE TABLE mine (a int)", "DROP TABLE runs", "ALTER TABLE runs ADD mine int", "CREATE SCHEMA mine"],
}
WORKERS = {
    "policies": CHANGES["policies"],
    "grants": CHANGES["grants"],
    "grant_extensions": CHANGES["grant_extensions"][:1],
    "people": CHANGES["people"][:2],
    "memberships": CHANGES["memberships"],
    "schedules": CHANGES["schedules"][:2],
    "schedule_slots": CHANGES["schedule_slots"][:1],
    "steps": CHANGES["steps"][:1],
    "log_chunks": [CHANGES["log_chunks"][0], CHANGES["log_chunks"][2]],
    "artifacts": CHANGES["artifacts"][:3],
    "passkeys": CHANGES["passkeys"][:2],
    "passkey_uses": CHANGES["passkey_uses"][:1],
    "secrets": CHANGES["secrets"][:1],
    "triggers": CHANGES["triggers"][:2],
    "alerts": CHANGES["alerts"][:2],
    "alert_groups": CHANGES["alert_groups"][:1],
    "deliveries": CHANGES["deliveries"],
    "request_plans": CHANGES["request_plans"][:1],
    "audit_marks": CHANGES["audit_marks"][:1],
    "audit_checks": CHANGES["audit_checks"][:1],
    "run_searches": CHANGES["run_searches"],
    "event_searches": CHANGES["event_searches"],
    "run_slots": CHANGES["run_slots"],
    "vote_slots": CHANGES["vote_slots"],
    "promises": CHANGES["promises"][:1],
    "counted_blocks": CHANGES["counted_blocks"][:1],
}


@pytest.mark.parametrize("table", CHANGES)
async def test_the_web_may_not(tables: Tables, table: str) -> None:
    for sql in CHANGES[table]:
        assert not await tables.may("web", sql), sql


@pytest.mark.parametrize("table", CHANGES)
async def test_a_worker_may_only_what_it_needs(tables: Tables, table: str) -> None:
    for sql in CHANGES[table]:
        may = await tables.may("worker", sql)
        needs = sql in WORKERS.get(table, [])
        assert may == needs, sql


async def test_running_processes_are_neither_owner_nor_superuser(tables: Tables) -> None:
    await refuse_powerful_role(tables.web)
    await refuse_powerful_role(tables.worker)
    with pytest.raises(PowerfulRole, match="COUNTERSIGN_DATABASE_URL connects as 'countersign_owner', which is the owner of the tables"):
        await refuse_powerful_role(tables.owner)
