"""What numbers count, in half hours."""

from alembic import op

revision = "0037"
down_revision = "0036"

# Half hours, because that is where the days of nearly every time zone begin. A slot is counted anew whenever a run of it moved.
_SLOTS = """
CREATE TABLE run_slots (
    slot timestamptz NOT NULL, command text NOT NULL, asked int NOT NULL, good int NOT NULL, bad int NOT NULL,
    CONSTRAINT pk_run_slots PRIMARY KEY (slot, command)
);
CREATE TABLE vote_slots (
    slot timestamptz NOT NULL, person text NOT NULL, approved int NOT NULL, denied int NOT NULL,
    CONSTRAINT pk_vote_slots PRIMARY KEY (slot, person)
);
CREATE VIEW counted_runs AS
SELECT date_bin('30 minutes', created_at, '2000-01-01 00:00:00+00') AS slot, id, number, command, created_at,
       status IN ('succeeded', 'answered') AS good, status IN ('failed', 'rolled_back', 'rollback_failed', 'interrupted') AS bad
FROM runs WHERE NOT dry_run;
CREATE FUNCTION countersign_count_slots(slots timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one timestamptz;
    low bigint;
    high bigint;
BEGIN
    FOREACH one IN ARRAY slots LOOP
        low := countersign_number_at(one - interval '1 minute');
        high := countersign_number_at(one + interval '31 minutes');
        INSERT INTO run_slots AS s (slot, command, asked, good, bad)
        SELECT slot, command, count(*), count(*) FILTER (WHERE good), count(*) FILTER (WHERE bad) FROM counted_runs
        WHERE number >= low AND number < high AND slot = one GROUP BY slot, command ORDER BY command
        ON CONFLICT (slot, command) DO UPDATE SET asked = excluded.asked, good = excluded.good, bad = excluded.bad;
        INSERT INTO vote_slots AS s (slot, person, approved, denied)
        SELECT r.slot, d.person, count(*) FILTER (WHERE d.verdict = 'approve' AND d.withdrawn_at IS NULL),
               count(*) FILTER (WHERE d.verdict = 'deny' AND d.withdrawn_at IS NULL)
        FROM counted_runs r JOIN decisions d ON d.run_id = r.id
        WHERE r.number >= low AND r.number < high AND r.slot = one GROUP BY r.slot, d.person ORDER BY d.person
        ON CONFLICT (slot, person) DO UPDATE SET approved = excluded.approved, denied = excluded.denied;
    END LOOP;
END $$;
GRANT SELECT ON run_slots, vote_slots, counted_runs TO countersign_web, countersign_worker;
GRANT INSERT, UPDATE ON run_slots, vote_slots TO countersign_worker;
"""
_FILL = """
INSERT INTO run_slots SELECT slot, command, count(*), count(*) FILTER (WHERE good), count(*) FILTER (WHERE bad) FROM counted_runs
GROUP BY slot, command ORDER BY slot;
INSERT INTO vote_slots SELECT r.slot, d.person, count(*) FILTER (WHERE d.verdict = 'approve' AND d.withdrawn_at IS NULL),
       count(*) FILTER (WHERE d.verdict = 'deny' AND d.withdrawn_at IS NULL)
FROM counted_runs r JOIN decisions d ON d.run_id = r.id GROUP BY r.slot, d.person ORDER BY r.slot;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(_SLOTS)
    op.execute(_FILL)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
