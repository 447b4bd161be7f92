"""The plan that each approval request was about, for whoever asks later; a search reads the newest events once and not twice."""

from alembic import op

revision = "0031"
down_revision = "0030"

_PLANS = """
CREATE TABLE request_plans (
    request_id uuid NOT NULL CONSTRAINT pk_request_plans PRIMARY KEY
        CONSTRAINT fk_request_plans_request_id REFERENCES approval_requests (id),
    plan jsonb NOT NULL
);
GRANT SELECT ON request_plans TO countersign_web, countersign_worker;
GRANT INSERT ON request_plans TO countersign_worker;
"""
_SEARCH_EVENTS = """
CREATE OR REPLACE FUNCTION countersign_search_events(
    wanted tsquery, below_us bigint, below_seq bigint, since bigint, until bigint, most int
) RETURNS TABLE (at_us bigint, seq bigint) LANGUAGE plpgsql STABLE SET enable_bitmapscan = on SET plan_cache_mode = force_custom_plan
SET work_mem = '32MB' SET jit = off SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    mark bigint := (SELECT m.at_us - 10000000 FROM audit_marks m WHERE m.name = 'searched');
    first_us bigint := least(below_us, until);
    first_seq bigint := CASE WHEN below_us < until THEN below_seq ELSE 0 END;
    near_us bigint[];
    near_seq bigint[];
BEGIN
    SELECT array_agg(n.at_us), array_agg(n.seq) INTO near_us, near_seq FROM (
        SELECT n.at_us, n.seq FROM (SELECT * FROM event_searches s WHERE (s.at_us, s.seq) < (first_us, first_seq) AND s.at_us >= since
            ORDER BY s.at_us DESC, s.seq DESC LIMIT 10000) n WHERE n.words @@ wanted LIMIT most) n;
    IF coalesce(cardinality(near_us), 0) < most THEN
        SELECT array_agg(f.at_us), array_agg(f.seq) INTO near_us, near_seq FROM (
            WITH far AS MATERIALIZED (SELECT s.at_us, s.seq FROM event_searches s WHERE s.words @@ wanted)
            SELECT f.at_us, f.seq FROM far f WHERE (f.at_us, f.seq) < (first_us, first_seq) AND f.at_us >= since
            ORDER BY f.at_us DESC, f.seq DESC LIMIT most) f;
    END IF;
    RETURN QUERY WITH fresh AS MATERIALIZED (
        SELECT e.at_us, e.seq FROM (SELECT a.at_us, a.seq, a.kind, a.actor, a.canonical FROM audit_events a WHERE a.at_us > mark
            ORDER BY a.at_us DESC LIMIT 5000) e
        WHERE NOT EXISTS (SELECT FROM event_searches s WHERE s.at_us = e.at_us AND s.seq = e.seq)
        AND countersign_event_words(e.kind, e.actor, e.canonical::jsonb -> 'detail') @@ wanted)
    SELECT u.at_us, u.seq FROM (SELECT f.at_us, f.seq FROM fresh f UNION ALL SELECT * FROM unnest(near_us, near_seq)) u (at_us, seq)
    WHERE (u.at_us, u.seq) < (first_us, first_seq) AND u.at_us >= since ORDER BY u.at_us DESC, u.seq DESC LIMIT most;
END $$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_PLANS)
    op.execute(_SEARCH_EVENTS)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
