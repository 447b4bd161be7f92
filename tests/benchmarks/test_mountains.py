"""A mountain is as the product would have written it, and its record proves."""

from pathlib import Path

import psycopg

from benchmarks.mountains import pile_up
from kit.servers import Servers
from store.databases import WORKER_OPTIONS, plain_url
from store.verify_audit import verify

RUNS = 60
# All that an event is but for its own id, moment and salt.
SHAPE = "SELECT canonical::jsonb - ARRAY['id', 'at', 'at_us', 'payload'], payload, kind, actor, run_id FROM audit_events ORDER BY seq"
ONCE_MORE = """
INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', kind, 'actor', actor, 'run', run_id,
    'detail', audit_detail(canonical, payload))::text FROM audit_events ORDER BY seq
"""


def test_its_events_are_those_that_the_trigger_makes_and_the_chain_holds(servers: Servers, tmp_path: Path) -> None:
    urls = servers.fresh_database()
    pile_up(urls, tmp_path, runs=RUNS, events=5 * RUNS, days=1)
    owner = plain_url(urls.owner)
    report = verify(owner, anchor_path=tmp_path / "anchors" / "audit.jsonl", public_key_path=tmp_path / "keys" / "audit.pub")
    assert not report.problems
    assert report.rows == 5 * RUNS
    with psycopg.connect(owner) as connection:
        connection.execute(ONCE_MORE)
        rows = connection.execute(SHAPE).fetchall()
    assert rows[: 5 * RUNS] == rows[5 * RUNS :]


def test_what_the_end_of_its_time_takes_is_found_by_keys(servers: Servers, tmp_path: Path) -> None:
    urls = servers.fresh_database()
    pile_up(urls, tmp_path, runs=RUNS, events=5 * RUNS, days=RUNS)
    with psycopg.connect(plain_url(urls.owner), options=WORKER_OPTIONS) as worker:
        assert worker.execute("SELECT countersign_forget_runs(30, 20)").fetchone() == (20,)
        (event,) = worker.execute("SELECT id::text FROM audit_events WHERE payload IS NULL ORDER BY at_us LIMIT 1").fetchone() or ("",)
        erasures = worker.execute("SELECT kind FROM countersign_erasures_of(ARRAY[%s], '{}')", [event]).fetchall()
        read = worker.execute("SELECT relname FROM pg_stat_xact_user_tables WHERE seq_tup_read > 0").fetchall()
    assert erasures == [("payload:erased",)]
    assert {name for (name,) in read} <= {"audit_marks", "clock", "legal_holds"}
