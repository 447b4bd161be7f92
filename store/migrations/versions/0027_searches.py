"""What runs and events are found by, written behind the audit's back by a housekeeper; how far it has come; verifications."""

from alembic import op

revision = "0027"
down_revision = "0026"

_TABLES = """
CREATE TABLE audit_marks (
    name text NOT NULL CONSTRAINT pk_audit_marks PRIMARY KEY,
    block bigint NOT NULL DEFAULT 0,
    at_us bigint NOT NULL DEFAULT 0,
    noted_at timestamptz NOT NULL DEFAULT countersign_now()
);
INSERT INTO audit_marks (name) VALUES ('searched'), ('anchored');
CREATE TABLE run_searches (
    number bigint NOT NULL CONSTRAINT pk_run_searches PRIMARY KEY,
    created_at timestamptz NOT NULL,
    words tsvector NOT NULL
);
CREATE INDEX ix_run_searches_words ON run_searches USING gin (words);
CREATE TABLE event_searches (
    at_us bigint NOT NULL,
    seq bigint NOT NULL,
    words tsvector NOT NULL,
    CONSTRAINT pk_event_searches PRIMARY KEY (at_us, seq)
);
CREATE INDEX ix_event_searches_words ON event_searches USING gin (words);
CREATE TABLE audit_checks (
    id uuid NOT NULL CONSTRAINT pk_audit_checks PRIMARY KEY,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT countersign_now(),
    begun_at timestamptz,
    ended_at timestamptz,
    rows bigint NOT NULL DEFAULT 0,
    blocks bigint NOT NULL DEFAULT 0,
    problems jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX ix_audit_checks_asked_at ON audit_checks (asked_at);
CREATE INDEX ix_audit_checks_waiting ON audit_checks (asked_at) WHERE ended_at IS NULL;
"""

# Lexemes that begin with `=` are exact, and nobody's text can begin so: the parser of texts splits there. A secret is an object with
# a mark, so that of objects nothing is indexed.
_RUN_WORDS = """
CREATE FUNCTION countersign_run_words(r runs) RETURNS tsvector LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT strip(to_tsvector('simple', left(concat_ws(' ', r.command, r.asker, r.handed_to, r.edited_by, r.source, r.badge, r.reason,
           r.outcome, r.plan ->> 'summary', r.place ->> 'channel',
           (SELECT string_agg(left(a.value #>> '{}', 2000), ' ') FROM jsonb_each(r.arguments) a
            WHERE jsonb_typeof(a.value) NOT IN ('object', 'null'))), 20000)))
    || array_to_tsvector(ARRAY['=command:' || left(r.command, 100), '=asker:' || left(r.asker, 100), '=door:' || r.door,
           '=status:' || r.status, '=badge:' || left(r.badge, 100)] || ARRAY(
           SELECT lower(left(a.key || '=' || (a.value #>> '{}'), 200)) FROM jsonb_each(r.arguments) a
           WHERE jsonb_typeof(a.value) NOT IN ('object', 'null', 'array')
           UNION ALL SELECT lower(left(a.key || '=' || (one #>> '{}'), 200)) FROM jsonb_each(r.arguments) a
           CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(a.value) WHEN 'array' THEN a.value ELSE '[]' END) one
           WHERE jsonb_typeof(one) NOT IN ('object', 'null', 'array')))
$$;
"""

# Digests are long and no two alike: their beginning finds them, and keeps the index small. `place`, `origins` and `trace` say nothing
# that anybody looks for.
_EVENT_WORDS = """
CREATE FUNCTION countersign_event_words(kind text, actor text, given jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT strip(to_tsvector('simple', left(concat_ws(' ', kind, actor), 1000))
    || jsonb_to_tsvector('simple', CASE WHEN length(detail::text) > 20000 THEN jsonb_build_object('command', detail -> 'command',
           'reason', left(detail ->> 'reason', 1000), 'because', left(detail ->> 'because', 1000)) ELSE
           detail - ARRAY['trace', 'origins', 'place', 'policy', 'code', 'digest'] END, '["string", "numeric"]'))
    || array_to_tsvector(ARRAY['=kind:' || left(kind, 100), '=actor:' || left(actor, 100)] || ARRAY(
           SELECT left(lower(d.value), 16) FROM jsonb_each_text(detail) d
           WHERE d.key IN ('digest', 'policy', 'code') AND d.value <> '') || ARRAY(
           SELECT lower(left(a.key || '=' || (a.value #>> '{}'), 200))
           FROM jsonb_each(CASE jsonb_typeof(detail -> 'arguments') WHEN 'object' THEN detail -> 'arguments' ELSE '{}' END) a
           WHERE jsonb_typeof(a.value) NOT IN ('object', 'null', 'array') LIMIT 100))
FROM (SELECT CASE jsonb_typeof(given) WHEN 'object' THEN given ELSE jsonb_build_object('detail', given) END AS detail) d
$$;
"""

# Numbers and times of birth rise together, but for births that overlap; so a moment is found by halving, and no birth pays for an index.
_NUMBER_AT = """
CREATE FUNCTION countersign_number_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    hit record;
BEGIN
    SELECT coalesce(max(number), 0) + 1 INTO high FROM runs;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT number, created_at INTO hit FROM runs WHERE number >= middle ORDER BY number LIMIT 1;
        IF FOUND AND hit.created_at < moment THEN low := hit.number + 1; ELSE high := middle; END IF;
    END LOOP;
    RETURN low;
END $$;
"""

# What many match is among the newest; what few match the inverted index has. The engines' connections are told to find rows by keys
# alone, which the inverted index cannot. What was recorded since the housekeeper's last turn is looked at as it is.
_SETTINGS = """SET enable_bitmapscan = on SET plan_cache_mode = force_custom_plan SET work_mem = '32MB' SET jit = off
    SET max_parallel_workers_per_gather = 0"""
_SEARCH_RUNS = f"""
CREATE FUNCTION countersign_search_runs(wanted tsquery, below bigint, above bigint, since timestamptz, until timestamptz, most int)
RETURNS SETOF bigint LANGUAGE plpgsql STABLE {_SETTINGS} AS $$
DECLARE
    mark bigint := (SELECT at_us - 10000000 FROM audit_marks WHERE name = 'searched');
    fresh bigint[] := ARRAY(SELECT r.number FROM (SELECT DISTINCT e.run_id FROM (SELECT run_id FROM audit_events WHERE at_us > mark
        AND run_id IS NOT NULL ORDER BY at_us DESC LIMIT 5000) e) f JOIN runs r ON r.id = f.run_id);
    found bigint[] := ARRAY(SELECT r.number FROM unnest(fresh) f JOIN runs r ON r.number = f WHERE r.number < below AND r.number >= above
        AND r.created_at >= since AND r.created_at < until AND countersign_run_words(r) @@ wanted);
    near bigint[] := ARRAY(SELECT s.number FROM (SELECT * FROM run_searches WHERE number < below AND number >= above
        ORDER BY number DESC LIMIT 10000) s WHERE s.words @@ wanted AND s.created_at >= since AND s.created_at < until
        AND s.number <> ALL (fresh) LIMIT most);
BEGIN
    IF cardinality(near) < most AND EXISTS (SELECT FROM run_searches WHERE number < below AND number >= above OFFSET 10000) THEN
        near := ARRAY(WITH far AS MATERIALIZED (SELECT number, created_at FROM run_searches WHERE words @@ wanted)
            SELECT number FROM far WHERE number < below AND number >= above AND created_at >= since AND created_at < until
            AND number <> ALL (fresh) ORDER BY number DESC LIMIT most);
    END IF;
    RETURN QUERY SELECT n FROM unnest(found || near) n ORDER BY n DESC LIMIT most;
END $$;
"""  # noqa: S608  built from constants
_SEARCH_EVENTS = f"""
CREATE FUNCTION countersign_search_events(wanted tsquery, below_us bigint, below_seq bigint, since bigint, until bigint, most int)
RETURNS TABLE (at_us bigint, seq bigint) LANGUAGE plpgsql STABLE {_SETTINGS} AS $$
#variable_conflict use_column
DECLARE
    mark bigint := (SELECT m.at_us - 10000000 FROM audit_marks m WHERE m.name = 'searched');
    enough boolean := (SELECT count(*) = most FROM (SELECT FROM (SELECT s.words FROM event_searches s
        WHERE (s.at_us, s.seq) < (least(below_us, until), CASE WHEN below_us < until THEN below_seq ELSE 0 END) AND s.at_us >= since
        ORDER BY s.at_us DESC, s.seq DESC LIMIT 10000) n WHERE n.words @@ wanted LIMIT most) c);
BEGIN
    RETURN QUERY WITH fresh AS MATERIALIZED (
        SELECT e.* FROM (SELECT a.at_us, a.seq, a.kind, a.actor, a.canonical FROM audit_events a WHERE a.at_us > mark
            ORDER BY a.at_us DESC LIMIT 5000) e
        WHERE NOT EXISTS (SELECT FROM event_searches s WHERE s.at_us = e.at_us AND s.seq = e.seq)
        AND countersign_event_words(e.kind, e.actor, e.canonical::jsonb -> 'detail') @@ wanted
    ), near AS MATERIALIZED (
        SELECT n.at_us, n.seq FROM (SELECT * FROM event_searches s
            WHERE enough AND (s.at_us, s.seq) < (least(below_us, until), CASE WHEN below_us < until THEN below_seq ELSE 0 END)
            AND s.at_us >= since ORDER BY s.at_us DESC, s.seq DESC LIMIT 10000) n WHERE n.words @@ wanted LIMIT most
    ), far AS MATERIALIZED (SELECT s.at_us, s.seq FROM event_searches s WHERE NOT enough AND s.words @@ wanted)
    SELECT u.at_us, u.seq FROM (SELECT f.at_us, f.seq FROM fresh f UNION ALL TABLE near UNION ALL TABLE far) u
    WHERE (u.at_us, u.seq) < (least(below_us, until), CASE WHEN below_us < until THEN below_seq ELSE 0 END) AND u.at_us >= since
    ORDER BY u.at_us DESC, u.seq DESC LIMIT most;
END $$;
"""  # noqa: S608  built from constants

_GRANTS = """
GRANT SELECT ON audit_marks, run_searches, event_searches, audit_checks TO countersign_web, countersign_worker;
GRANT SELECT ON audit_blocks, audit_leaves, audit_unsealed TO countersign_web;
GRANT INSERT, UPDATE ON run_searches, event_searches TO countersign_worker;
GRANT UPDATE ON audit_marks, audit_checks TO countersign_worker;
GRANT INSERT (id, asked_by) ON audit_checks TO countersign_web, countersign_worker;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statements in (_TABLES, _RUN_WORDS, _EVENT_WORDS, _NUMBER_AT, _SEARCH_RUNS, _SEARCH_EVENTS, _GRANTS):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
