"""Retention: what is said about runs, and messages, are forgotten when their time is over."""

from alembic import op

revision = "0043"
down_revision = "0042"

# From the oldest run on, some at a time, and from the beginning once the end is reached: what was held or had not ended is found then.
_FORGET_RUNS = """
INSERT INTO audit_marks (name) VALUES ('forgotten');
CREATE FUNCTION countersign_forget_runs(days int, most int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    before timestamptz := countersign_now() - make_interval(days => days);
    mark bigint;
    these uuid[];
    last bigint;
BEGIN
    SELECT block INTO mark FROM audit_marks WHERE name = 'forgotten' FOR UPDATE SKIP LOCKED;
    IF mark IS NULL OR days < 1 THEN
        RETURN 0;
    END IF;
    SELECT array_agg(id), max(number) INTO these, last FROM (SELECT r.id, r.number FROM runs r WHERE r.number > mark AND r.place ? 'team'
        AND r.created_at < before AND r.moved_at < before AND r.status IN ('answered', 'succeeded', 'failed', 'rolled_back',
        'rollback_failed', 'denied', 'expired', 'cancelled', 'refused') AND NOT countersign_held(r) ORDER BY r.number LIMIT most) old;
    UPDATE audit_marks SET block = coalesce(last, 0), noted_at = countersign_now() WHERE name = 'forgotten';
    PERFORM countersign_erase_events(ARRAY(SELECT id FROM audit_events WHERE run_id = ANY (these) AND payload IS NOT NULL), NULL, days);
    RETURN countersign_erase_runs(these, 'what was said about this was erased on '
        || to_char(countersign_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ' because its ' || days || ' days were over');
END $$;
REVOKE ALL ON FUNCTION countersign_forget_runs(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION countersign_forget_runs(int, int) TO countersign_worker;
"""

_MESSAGES = """
GRANT DELETE ON messages TO countersign_worker;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_FORGET_RUNS)
    op.execute(_MESSAGES)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
