"""The audit: events stamped and hashed by a trigger, the queue of unsealed events, signed blocks and the leaves in them."""

from alembic import op

revision = "0002"
down_revision = "0001"

# The stamp puts at_us at the same place in every text, 16 digits from the year 2001 to 2286, which is cheaper than parsing once more.
_EVENTS = """
CREATE TABLE audit_events (
    seq bigint GENERATED ALWAYS AS IDENTITY,
    id uuid NOT NULL CONSTRAINT pk_audit_events PRIMARY KEY,
    canonical text NOT NULL,
    leaf bytea NOT NULL,
    at_us bigint NOT NULL GENERATED ALWAYS AS (substr(canonical, 54, 16)::bigint) STORED,
    kind text NOT NULL GENERATED ALWAYS AS (canonical::jsonb ->> 'kind') STORED,
    actor text NOT NULL GENERATED ALWAYS AS (canonical::jsonb ->> 'actor') STORED,
    run_id uuid GENERATED ALWAYS AS ((canonical::jsonb ->> 'run')::uuid) STORED
);
CREATE INDEX ix_audit_events_at_us ON audit_events (at_us, seq);
CREATE INDEX ix_audit_events_kind ON audit_events (kind, at_us, seq);
CREATE INDEX ix_audit_events_run_id ON audit_events (run_id, at_us, seq) WHERE run_id IS NOT NULL;
"""

# The sealer reads its next block from the front of this index, however many millions of events are sealed. It has no unique key and
# no reference on purpose: the web role may insert here, and a forged row must neither block a real event nor cost every insert a
# look-up; the sealer throws away rows that name no unsealed event.
_QUEUE = """
CREATE TABLE audit_unsealed (at_us bigint NOT NULL, seq bigint NOT NULL, event_id uuid NOT NULL);
CREATE INDEX ix_audit_unsealed_at_us ON audit_unsealed (at_us, seq);
"""

_BLOCKS = """
CREATE TABLE audit_blocks (
    n bigint NOT NULL CONSTRAINT pk_audit_blocks PRIMARY KEY,
    prev bytea NOT NULL,
    root bytea NOT NULL,
    count integer NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    sealed_us bigint NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL
);
CREATE TABLE audit_leaves (
    event_id uuid NOT NULL CONSTRAINT pk_audit_leaves PRIMARY KEY CONSTRAINT fk_audit_leaves_event_id REFERENCES audit_events (id),
    block bigint NOT NULL,
    position integer NOT NULL,
    leaf bytea NOT NULL,
    CONSTRAINT uq_audit_leaves_block_position UNIQUE (block, position)
);
"""

# A caller who could choose id, at or at_us inside the text would choose what the generated columns show.
_STAMP = r"""
CREATE FUNCTION audit_events_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := countersign_now();
    us bigint := (extract(epoch FROM moment) * 1000000)::bigint;
BEGIN
    IF left(NEW.canonical, 1) <> '{' OR NEW.canonical::jsonb ?| ARRAY['id', 'at', 'at_us'] THEN
        RAISE EXCEPTION 'an audit event is the text of a JSON object without the keys id, at and at_us: the database adds them'
            USING ERRCODE = 'check_violation';
    END IF;
    NEW.canonical := '{"id":"' || NEW.id || '","at_us":' || us || ',"at":"'
        || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '",' || substr(NEW.canonical, 2);
    NEW.leaf := sha256('\x00'::bytea || convert_to(NEW.canonical, 'UTF8'));
    INSERT INTO audit_unsealed (at_us, seq, event_id) VALUES (us, NEW.seq, NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_events_stamp BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_events_stamp();
"""

_REFUSE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is insert-only: what the audit holds is never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
"""

_INSERT_ONLY = """
CREATE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""

_GRANTS = """
REVOKE ALL ON audit_events, audit_unsealed, audit_blocks, audit_leaves FROM PUBLIC, countersign_worker, countersign_web;
GRANT SELECT, INSERT (id, canonical) ON audit_events TO countersign_worker, countersign_web;
GRANT INSERT ON audit_unsealed TO countersign_worker, countersign_web;
GRANT SELECT, DELETE ON audit_unsealed TO countersign_worker;
GRANT SELECT, INSERT ON audit_blocks, audit_leaves TO countersign_worker;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statements in (_EVENTS, _QUEUE, _BLOCKS, _STAMP, _REFUSE):
        op.execute(statements)
    for table in ("audit_events", "audit_blocks", "audit_leaves"):
        op.execute(_INSERT_ONLY.format(table=table))
    op.execute(_GRANTS)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
