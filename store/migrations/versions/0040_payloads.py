"""What an event says about people stands beside the text that is hashed, which holds a salted digest of it: it can be erased, and the chain
stays whole."""

from alembic import op

revision = "0040"
down_revision = "0039"

# By it the record knows a person for ever, and nobody else does once the row of the person no longer says so.
_ALIASES = """
ALTER TABLE people ADD COLUMN alias text NOT NULL DEFAULT 'p_' || left(replace(gen_random_uuid()::text, '-', ''), 16);
ALTER TABLE people ADD CONSTRAINT uq_people_alias UNIQUE (alias);
"""

# A payload begins with the actor, if it has one, so that each event need not be parsed once more.
_COLUMNS = """
ALTER TABLE audit_events ADD COLUMN payload text, ADD COLUMN salt uuid, DROP COLUMN actor;
ALTER TABLE audit_events ADD COLUMN actor text NOT NULL
    GENERATED ALWAYS AS (
        CASE left(payload, 10) WHEN '{"actor":"' THEN split_part(payload, '"', 4) ELSE canonical::jsonb ->> 'actor' END
    ) STORED;
CREATE FUNCTION audit_detail(canonical text, payload text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE WHEN payload IS NULL THEN canonical::jsonb -> 'detail'
       ELSE coalesce(canonical::jsonb -> 'detail', '{}') || coalesce(payload::jsonb -> 'detail', '{}') END
$$;
CREATE INDEX ix_audit_events_erasures ON audit_events (at_us, seq) WHERE kind = 'payload:erased';
GRANT SELECT (payload, salt, actor) ON audit_events TO countersign_worker, countersign_web;
"""

# Of what an event tells, only these keys are hashed as they are: digests, numbers, times, names of commands, groups and doors. Whatever
# else anybody thinks of is taken to be about a person until it is put here. A caller who could choose id, at or at_us would choose what
# the generated columns show. Nobody else's random bits are 122 bits of salt, so that a short text cannot be guessed from its digest.
_STAMP = r"""
CREATE OR REPLACE FUNCTION audit_events_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := countersign_now();
    us bigint := (extract(epoch FROM moment) * 1000000)::bigint;
    given jsonb := NEW.canonical::jsonb;
    who text := given ->> 'actor';
    known text;
    detail jsonb := coalesce(given -> 'detail', '{}');
    hidden jsonb;
BEGIN
    IF left(NEW.canonical, 1) <> '{' OR NOT given ?& ARRAY['kind', 'actor'] OR given - ARRAY['kind', 'actor', 'run', 'detail'] <> '{}' THEN
        RAISE EXCEPTION 'an audit event is the text of a JSON object with kind, actor, run and detail: the database adds id, at and at_us'
            USING ERRCODE = 'check_violation';
    END IF;
    IF jsonb_typeof(detail) <> 'object' THEN
        detail := jsonb_build_object('detail', detail);
    END IF;
    hidden := detail - ARRAY['again_in', 'alias', 'attempt', 'block', 'blocks', 'changed', 'choice', 'code', 'command', 'count',
        'days', 'decision', 'digest', 'door', 'dry_run', 'events', 'group', 'groups', 'lines', 'message', 'number', 'phase',
        'policies', 'policy', 'position', 'refused', 'request', 'revision', 'risk', 'role', 'rows', 'rule', 'sha256', 'shown',
        'since_us', 'skipped', 'stage', 'start_at', 'status', 'step', 'trace', 'try', 'until', 'until_us', 'verdict', 'worker'];
    IF hidden <> '{}' THEN
        detail := detail - ARRAY(SELECT jsonb_object_keys(hidden));
    END IF;
    IF who IN ('countersign', 'nobody', 'scim') THEN
        known := who;
        NEW.payload := '{"detail":' || hidden::text || '}';
    ELSE
        SELECT CASE WHEN p.service THEN p.name ELSE p.alias END INTO known FROM people p WHERE p.name = who;
        NEW.payload := '{"actor":' || to_json(who) || ',"detail":' || hidden::text || '}';
    END IF;
    NEW.salt := gen_random_uuid();
    NEW.canonical := '{"id":"' || NEW.id || '","at_us":' || us || ',"at":"'
        || to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","kind":' || (given -> 'kind')
        || ',"actor":' || to_json(coalesce(known, 'somebody')) || ',"run":' || coalesce(given -> 'run', 'null') || ',"detail":' || detail
        || ',"payload":"' || encode(sha256('\x02'::bytea || uuid_send(NEW.salt) || convert_to(NEW.payload, 'UTF8')), 'hex') || '"}';
    NEW.leaf := sha256('\x00'::bytea || convert_to(NEW.canonical, 'UTF8'));
    INSERT INTO audit_unsealed (at_us, seq, event_id) VALUES (us, NEW.seq, NEW.id);
    RETURN NEW;
END $$;
"""

# The search of 0036 as it is, but for where an event's detail comes from.
_SEARCH = r"""
DO $do$
BEGIN
    EXECUTE replace(replace(pg_get_functiondef('countersign_search_events'::regproc), 'e.canonical::jsonb -> ''detail''',
        'audit_detail(e.canonical, e.payload)'), 'a.actor, a.canonical FROM', 'a.actor, a.canonical, a.payload FROM');
END $do$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statements in (_ALIASES, _COLUMNS, _STAMP, _SEARCH):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
