"""A mountain of runs and of audit events, as years of use leave them: written in bulk, sealed, chained, signed and indexed.

Every event has the text and the payload that the trigger would have stamped and its leaf, every block its Merkle root and its signature,
so that the verifier finds nothing wrong; the words that runs and events are found by are those of the housekeeper. Every run was asked
about, decided, carried out in one step and shown in a channel and to its asker; one in a hundred gave its asker a role. Run alone, it fills
a new database of the embedded Postgres and keeps it: `python -m benchmarks.mountains FOLDER --runs 1000000 --events 5000000`
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from store.anchors import FileAnchor
from store.databases import plain_url
from store.embedded import DatabaseUrls
from store.embedded.postgres import EmbeddedPostgres
from store.migrating import migrate
from store.sealing import MOST_LEAVES, Block, load_or_create_key, merkle_root

RUNS: Final = 1_000_000
EVENTS: Final = 5_000_000
DAYS: Final = 730
CHUNK: Final = 100_000
COMMANDS: Final = ("deploy", "rollback", "restart", "scale", "flag set", "db migrate", "cert renew", "cache purge")
_OFF: LiteralString = "ALTER TABLE audit_events DISABLE TRIGGER audit_events_stamp"
_ON: LiteralString = "ALTER TABLE audit_events ENABLE TRIGGER audit_events_stamp"
_NO_WORDS: LiteralString = "DROP INDEX ix_run_searches_words; DROP INDEX ix_event_searches_words"
_WORDS: LiteralString = """
CREATE INDEX ix_run_searches_words ON run_searches USING gin (words);
CREATE INDEX ix_event_searches_words ON event_searches USING gin (words)
"""
PEOPLE: Final = 200
LEADS: Final = 20
"""Every so many'th person decides."""
_PEOPLE: LiteralString = """
INSERT INTO people (name, email) SELECT 'person' || i, 'person' || i || '@example.test' FROM generate_series(0, %(people)s - 1) i
ON CONFLICT DO NOTHING
"""
# What everybody was once granted for a week by one of their runs, and a few still are.
_GRANTS: LiteralString = """
INSERT INTO grants (id, subject, role, until, run_id, granted_at, ended_at, ended_by, ended_how, approved_by)
SELECT md5('grant' || number)::uuid, asker, 'lead', CASE WHEN live.is THEN countersign_now() + interval '7 days'
       ELSE moved_at + interval '7 days' END, id, moved_at, CASE WHEN NOT live.is THEN moved_at + interval '7 days' END,
       CASE WHEN NOT live.is THEN 'countersign' END, CASE WHEN NOT live.is THEN 'expired' END, ARRAY['person0']
FROM runs CROSS JOIN LATERAL (SELECT number > %(runs)s - 3000 AS is) live WHERE number %% 100 = 0
"""
_HOLD: LiteralString = """
INSERT INTO legal_holds (id, kind, target, reason, held_by, run_id)
SELECT md5('hold')::uuid, 'run', '1', 'OPS-1 goes to court', 'person0', id FROM runs WHERE number = 2
"""
# One run every so often; what it is follows from its number, so that two mountains are alike.
_RUNS: LiteralString = """
INSERT INTO runs (id, command, code_version, status, risk, visibility, asker, door, place, arguments, origins, reason, policy, trace,
                  plan, digest, revision, outcome, created_at, moved_at)
SELECT md5('run' || i)::uuid, c.name, 'c1', s.status, 1 + i %% 3, CASE WHEN i %% 50 = 0 THEN 'private' ELSE 'staff' END,
       'person' || (i * 7 %% 200), (ARRAY['slack', 'slack', 'slack', 'browser', 'api', 'schedule'])[1 + i %% 6],
       '{"platform": "room", "team": "", "channel": "ops", "thread": "", "shared": false}', a.arguments,
       '{"service": "typed", "env": "default", "version": "typed"}',
       CASE WHEN i %% 4 = 0 THEN 'OPS-' || i / 10 || ' asked for it' ELSE '' END,
       'p', md5('trace' || i), jsonb_build_object('summary', c.name || ' of ' || (a.arguments ->> 'service') || ' to '
       || (a.arguments ->> 'version'), 'steps', '[]'::jsonb), encode(sha256(('plan' || i)::bytea), 'hex'), 1,
       CASE s.status WHEN 'failed' THEN 'the health check did not pass within 5 min' WHEN 'succeeded' THEN 'done' ELSE '' END,
       at.born, at.born + interval '90 seconds'
FROM generate_series(%(first)s::int, %(last)s::int) i
CROSS JOIN LATERAL (SELECT (%(commands)s::text[])[1 + i %% 8] AS name) c
CROSS JOIN LATERAL (SELECT jsonb_build_object('service', 'service-' || i * 13 %% 300, 'env', (ARRAY['prod', 'staging', 'dev'])[1 + i %% 3],
    'version', 'v' || i / 1000 || '.' || i %% 1000) AS arguments) a
CROSS JOIN LATERAL (SELECT CASE WHEN i %% 1000 = 1 THEN 'interrupted' WHEN i %% 25 = 0 THEN 'failed' WHEN i %% 40 = 1 THEN 'denied'
    WHEN i > %(runs)s - 200 AND i %% 5 = 0 THEN 'awaiting_approval' ELSE 'succeeded' END AS status) s
CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - (%(runs)s - i) * (%(days)s * interval '1 day') / %(runs)s AS born) at
"""
# What of an event is hashed as it is, the trigger itself says.
_HASHED: LiteralString = """
SELECT array_agg(one[1])
FROM substring(pg_get_functiondef('audit_events_stamp'::regproc) FROM 'hidden := detail - ARRAY(.*?)]') listed,
     regexp_matches(listed, '''(\\w+)''', 'g') one
"""
# As the trigger stamps them. The first of a run's events tells what was asked, the third who agreed, the rest what became of it.
_EVENTS: LiteralString = r"""
INSERT INTO audit_events (id, canonical, payload, salt, leaf)
SELECT id, canonical, payload, salt, sha256('\x00'::bytea || convert_to(canonical, 'UTF8')) FROM (
  SELECT e.id, e.at, w.payload, w.salt, '{"id":"' || e.id || '","at_us":' || (extract(epoch FROM e.at) * 1000000)::bigint || ',"at":"'
         || to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","kind":' || to_json(e.kind) || ',"actor":'
         || to_json(coalesce(p.alias, e.actor)) || ',"run":"' || e.run || '","detail":' || d.detail - d.hidden || ',"payload":"'
         || encode(sha256('\x02'::bytea || uuid_send(w.salt) || convert_to(w.payload, 'UTF8')), 'hex') || '"}' AS canonical
  FROM (
    SELECT md5('event' || i || ' ' || n)::uuid AS id, r.created_at + n * interval '7 seconds' AS at, r.id AS run,
           CASE WHEN n = 1 THEN r.asker WHEN n = 3 THEN 'person' || (i * 11 %% 200) ELSE 'countersign' END AS actor,
           CASE n WHEN 1 THEN 'run:submitted' WHEN 2 THEN 'run:awaiting_approval' WHEN 4 THEN 'run:running' WHEN 3 THEN
               CASE r.status WHEN 'denied' THEN 'decision:deny' ELSE 'decision:approve' END ELSE 'run:' || r.status END AS kind,
           jsonb_strip_nulls(CASE n
              WHEN 1 THEN jsonb_build_object('command', r.command, 'arguments', r.arguments, 'origins', r.origins, 'door', r.door,
                  'place', r.place, 'policy', 'p', 'code', 'c1', 'trace', r.trace, 'reason', nullif(r.reason, ''))
              WHEN 3 THEN jsonb_build_object('verdict', CASE r.status WHEN 'denied' THEN 'deny' ELSE 'approve' END, 'digest', r.digest,
                  'shown', r.digest, 'door', 'slack', 'groups', '["leads", "staff"]'::jsonb, 'policy', 'p',
                  'request', md5('request' || r.id)::uuid)
              ELSE jsonb_build_object('digest', r.digest, 'revision', 1, 'outcome', nullif(r.outcome, '')) END) AS said
    FROM generate_series(%(first)s::int, %(last)s::int) i
    JOIN runs r ON r.id = md5('run' || i)::uuid
    CROSS JOIN LATERAL generate_series(1, %(each)s::int) n) e
  LEFT JOIN people p ON p.name = e.actor
  CROSS JOIN LATERAL (SELECT e.said AS detail, ARRAY(SELECT jsonb_object_keys(e.said - %(hashed)s::text[])) AS hidden) d
  CROSS JOIN LATERAL (SELECT md5('salt' || e.id)::uuid AS salt, CASE WHEN p.name IS NULL THEN '{' ELSE '{"actor":' || to_json(p.name) || ','
      END || '"detail":' || (d.detail - %(hashed)s::text[]) || '}' AS payload) w
  ORDER BY e.at) stamped
"""
_RUN_WORDS: LiteralString = """
INSERT INTO run_searches SELECT number, created_at, countersign_run_words(r) FROM runs r WHERE number BETWEEN %(first)s AND %(last)s
"""
_EVENT_WORDS: LiteralString = """
INSERT INTO event_searches SELECT at_us, seq, countersign_event_words(kind, actor, audit_detail(canonical, payload)) FROM audit_events
WHERE seq BETWEEN %(first)s AND %(last)s ORDER BY at_us, seq
"""
_REQUESTS: LiteralString = """
INSERT INTO approval_requests (id, run_id, revision, digest, rule, policy, state, opened_at, expires_at, next_due, first_vote_at, closed_at,
                               counted)
SELECT md5('request' || r.id)::uuid, r.id, 1, r.digest,
       '{"by": "deploy:approve", "count": 1, "expires": "24h", "asker_may": false, "also": []}', 'p', s.state, r.created_at,
       CASE s.state WHEN 'open' THEN countersign_now() + interval '90 days' ELSE r.created_at + interval '1 day' END,
       CASE s.state WHEN 'open' THEN countersign_now() + interval '90 days' END,
       CASE WHEN s.state <> 'open' THEN r.moved_at END, CASE WHEN s.state <> 'open' THEN r.moved_at END, true
FROM runs r CROSS JOIN LATERAL
    (SELECT CASE r.status WHEN 'awaiting_approval' THEN 'open' WHEN 'denied' THEN 'denied' ELSE 'approved' END AS state) s
WHERE r.number BETWEEN %(first)s AND %(last)s
"""
_DECISIONS: LiteralString = """
INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy, decided_at)
SELECT md5('decision' || r.id)::uuid, md5('request' || r.id)::uuid, r.id, 'person' || (r.number * 11 %% 200),
       CASE r.status WHEN 'denied' THEN 'deny' ELSE 'approve' END, '', r.digest, 'slack', 'p', r.moved_at
FROM runs r WHERE r.number BETWEEN %(first)s AND %(last)s AND r.status <> 'awaiting_approval'
"""
_STEPS: LiteralString = """
WITH begun AS (SELECT * FROM runs WHERE number BETWEEN %(first)s AND %(last)s AND status NOT IN ('awaiting_approval', 'denied')),
aimed AS (INSERT INTO targets (run_id, target, begun_at)
          SELECT id, (arguments ->> 'service') || ' ' || (arguments ->> 'env'), moved_at FROM begun)
INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker, started_at, ended_at, since)
SELECT id, 1, 0, 'do', 'release', CASE status WHEN 'succeeded' THEN 'done' ELSE 'failed' END, 1, 'w', created_at, moved_at, created_at
FROM begun
"""
_MESSAGES: LiteralString = """
INSERT INTO messages (id, run_id, kind, platform, team, channel, person, shown, card, created_at, edited_at)
SELECT md5(m.kind || r.id)::uuid, r.id, m.kind, 'room', '', m.channel, m.person, 1, jsonb_build_object(
           'title', r.command || ' #' || r.number, 'fallback', r.command || ': ' || r.status, 'tone', 'good',
           'text', r.plan ->> 'summary', 'footer', 'asked by ' || r.asker, 'fields',
           (SELECT jsonb_agg(jsonb_build_object('label', key, 'value', value)) FROM jsonb_each_text(r.arguments))), r.created_at, r.moved_at
FROM runs r CROSS JOIN LATERAL (VALUES ('card', (ARRAY['ops', 'deploys', 'incidents'])[1 + r.number %% 3], ''), ('direct', '', r.asker))
    m (kind, channel, person)
WHERE r.number BETWEEN %(first)s AND %(last)s
"""
_BLOCK: LiteralString = "COPY audit_blocks (n, prev, root, count, first_us, last_us, sealed_us, key_id, signature) FROM STDIN"
_LEAVES: LiteralString = "COPY audit_leaves (event_id, block, position, leaf) FROM STDIN"
_SLOTS: LiteralString = """
SELECT countersign_count_slots(ARRAY(SELECT DISTINCT date_bin('30 minutes', created_at, '2000-01-01 00:00:00+00') FROM runs ORDER BY 1))
"""
_MARKS: LiteralString = "UPDATE audit_marks SET block = %(block)s, at_us = %(at_us)s, noted_at = countersign_now()"


def pile_up(urls: DatabaseUrls, folder: Path, *, runs: int = RUNS, events: int = EVENTS, days: float = DAYS) -> None:
    """Fills a migrated database without runs with those of so many days; `events` is rounded down to the same number for each run.

    Key and anchors go below `folder`.
    """
    with psycopg.connect(plain_url(urls.owner), autocommit=True) as owner:
        owner.execute("SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; SET work_mem = '64MB'")
        owner.execute(_PEOPLE, {"people": PEOPLE})
        owner.execute(_NO_WORDS)
        with _said(f"{runs:,} runs"):
            _in_chunks(owner, _RUNS, runs, runs=runs, days=days, now=datetime.now(UTC), commands=list(COMMANDS))
        owner.execute("ANALYZE runs")
        with _said(f"{runs * (events // runs):,} events"):
            owner.execute(_OFF)
            (hashed,) = owner.execute(_HASHED).fetchone() or (None,)
            _in_chunks(owner, _EVENTS, runs, each=events // runs, hashed=hashed)
            owner.execute(_ON)
        for what, statement in (("requests", _REQUESTS), ("decisions", _DECISIONS), ("steps", _STEPS), ("messages", _MESSAGES)):
            with _said(what):
                _in_chunks(owner, statement, runs)
        owner.execute(_GRANTS, {"runs": runs})
        owner.execute(_HOLD)
        with _said("sealing"):
            last = _seal(owner, folder)
        with _said("words of runs"):
            _in_chunks(owner, _RUN_WORDS, runs)
        with _said("words of events"):
            _in_chunks(owner, _EVENT_WORDS, runs * (events // runs))
        with _said("indexes of words"):
            owner.execute(_WORDS)
        with _said("half hours"):
            owner.execute(_SLOTS)
        owner.execute(_MARKS, {"block": last.n, "at_us": last.last_us})
        with _said("vacuum"):
            owner.execute("VACUUM ANALYZE")


def _in_chunks(owner: psycopg.Connection[tuple[object, ...]], statement: LiteralString, count: int, **values: object) -> None:
    for first in range(1, count + 1, CHUNK):
        owner.execute(statement, {**values, "first": first, "last": min(count, first + CHUNK - 1)})


def _seal(owner: psycopg.Connection[tuple[object, ...]], folder: Path) -> Block:
    """As the sealer does it, a thousand events to a block, with what it costs to ask for each thousand left out."""
    signer, anchor = load_or_create_key(folder / "keys" / "audit.pem"), FileAnchor(folder / "anchors" / "audit.jsonl")
    last: Block | None = None
    with owner.transaction(), owner.cursor(name="leaves") as cursor:
        cursor.execute("SELECT id, leaf, at_us FROM audit_events ORDER BY at_us, seq")
        while rows := cursor.fetchmany(MOST_LEAVES):
            leaves = [bytes(row[1]) for row in rows]  # type: ignore[call-overload]
            first_us, last_us = int(str(rows[0][2])), int(str(rows[-1][2]))
            last = Block(
                n=last.n + 1 if last else 1,
                prev=last.digest if last else bytes(32),
                root=merkle_root(leaves),
                count=len(rows),
                first_us=first_us,
                last_us=last_us,
                sealed_us=last_us + 1_000_000,
                key_id=signer.key_id,
            )
            last = replace(last, signature=signer.sign(last.header))
            with owner.cursor() as writer, writer.copy(_LEAVES) as copy:
                for position, row in enumerate(rows):
                    copy.write_row((row[0], last.n, position, row[1]))
            with owner.cursor() as writer, writer.copy(_BLOCK) as copy:
                copy.write_row(
                    (last.n, last.prev, last.root, last.count, last.first_us, last.last_us, last.sealed_us, last.key_id, last.signature)
                )
            anchor.anchor(last)
    anchor.close()
    assert last is not None
    return last


@contextmanager
def _said(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    given.folder.chmod(0o711)
    postgres = EmbeddedPostgres(given.folder, durable=False)
    postgres.start()
    try:
        migrate(postgres.urls.owner)
        pile_up(postgres.urls, given.folder, runs=given.runs, events=given.events)
    finally:
        postgres.stop()


if __name__ == "__main__":
    main()
