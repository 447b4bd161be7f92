"""Erasing where there is much: what the end of their time takes from runs is found by keys, erasures by what they erased, and whoever
erases a person reads the record through once."""

from alembic import op

revision = "0044"
down_revision = "0043"

_INDEXES = """
CREATE INDEX ix_inbox_answered ON inbox (run_id) WHERE answer IS NOT NULL;
CREATE INDEX ix_deliveries_run_id ON deliveries (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX ix_audit_events_erased ON audit_events USING gin ((canonical::jsonb #> '{detail,events}'),
    (canonical::jsonb #> '{detail,policies}')) WHERE kind = 'payload:erased';
"""

# As in 0042, but for messages and the inbox, of which there are as many as runs.
_ERASE_RUNS = """
CREATE OR REPLACE FUNCTION countersign_erase_runs(ids uuid[], said text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    these uuid[];
BEGIN
    SELECT array_agg(r.id) INTO these FROM runs r WHERE r.id = ANY (ids) AND NOT countersign_held(r) AND r.status IN ('answered',
        'succeeded', 'failed', 'rolled_back', 'rollback_failed', 'denied', 'expired', 'cancelled', 'refused');
    UPDATE runs SET arguments = '{}', origins = '{}', reason = '', plan = NULL, result = NULL, answer_to = NULL, outcome = said,
        place = jsonb_build_object('platform', place ->> 'platform') WHERE id = ANY (these);
    DELETE FROM log_chunks WHERE run_id = ANY (these);
    DELETE FROM secrets WHERE run_id = ANY (these);
    DELETE FROM targets WHERE run_id = ANY (these);
    DELETE FROM request_plans p USING approval_requests q WHERE q.id = p.request_id AND q.run_id = ANY (these);
    UPDATE steps SET result = NULL, error = '', progress = NULL, earlier = DEFAULT WHERE run_id = ANY (these);
    UPDATE decisions SET reason = '', proof = NULL WHERE run_id = ANY (these);
    UPDATE breaks SET reason = '' WHERE run_id = ANY (these);
    UPDATE reviews SET finding = '' WHERE run_id = ANY (these);
    UPDATE conversations SET said = '' WHERE run_id = ANY (these);
    UPDATE tasks SET asked = '{}', answer = NULL WHERE run_id = ANY (these);
    UPDATE inbox SET answer = NULL WHERE run_id = ANY (these) AND answer IS NOT NULL;
    UPDATE deliveries SET body = '', said = '' WHERE run_id = ANY (these) AND run_id IS NOT NULL;
    UPDATE messages SET card = NULL, error = '', answer_to = NULL, due_at = CASE WHEN card IS NULL THEN due_at END
        WHERE run_id = ANY (these) AND kind <> 'reply';
    UPDATE messages SET card = NULL, error = '', answer_to = NULL, due_at = CASE WHEN card IS NULL THEN due_at END
        WHERE run_id = ANY (these) AND kind = 'reply';
    UPDATE artifacts SET dropped_at = coalesce(dropped_at, countersign_now()), name = 'erased-' || id WHERE run_id = ANY (these);
    UPDATE run_searches s SET words = countersign_run_words(r) FROM runs r WHERE r.id = ANY (these) AND s.number = r.number;
    RETURN coalesce(cardinality(these), 0);
END $$;
"""

# Their own events and those of their runs have keys, and only in what others typed has every payload to be read.
_ABOUT = """
DROP FUNCTION countersign_events_about(text, uuid);
CREATE FUNCTION countersign_events_about(who text, but uuid, since timestamptz) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
WITH about AS MATERIALIZED (SELECT id FROM countersign_runs_about(who)), marks AS MATERIALIZED (SELECT countersign_marks_of(who) AS of_them)
SELECT e.id FROM audit_events e, marks WHERE e.at_us >= (extract(epoch FROM since) * 1000000)::bigint AND e.payload IS NOT NULL
AND e.run_id IS DISTINCT FROM but AND e.kind <> 'payload:erased'
AND (e.actor = who OR e.run_id IN (SELECT id FROM about) OR EXISTS (SELECT FROM unnest(marks.of_them) m WHERE strpos(e.payload, m) > 0))
$$;
CREATE FUNCTION countersign_extent(who text, OUT runs bigint, OUT events bigint) LANGUAGE plpgsql STABLE SET enable_bitmapscan = on AS $$
DECLARE
    about uuid[] := ARRAY(SELECT id FROM countersign_runs_about(who));
    theirs tsquery := quote_literal('=actor:' || left(who, 100))::tsquery;
BEGIN
    runs := cardinality(about);
    SELECT count(*) INTO events FROM (SELECT at_us, seq FROM event_searches WHERE words @@ theirs UNION SELECT e.at_us, e.seq
        FROM audit_events e WHERE e.run_id = ANY (about) AND e.run_id IS NOT NULL AND e.payload IS NOT NULL
        AND e.kind <> 'payload:erased') found;
END $$;
"""
_PROOF = """
CREATE FUNCTION countersign_erasures_of(events text[], policies text[]) RETURNS SETOF audit_events LANGUAGE sql STABLE
SET enable_bitmapscan = on AS $$
SELECT * FROM audit_events WHERE kind = 'payload:erased' AND (canonical::jsonb #> '{detail,events}' ?| events
    OR canonical::jsonb #> '{detail,policies}' ?| policies)
$$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statements in (_INDEXES, _ERASE_RUNS, _ABOUT, _PROOF):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
