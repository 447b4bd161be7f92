"""Searches that look no deeper than they must; no index of the record's kinds, for which every event paid and which nothing reads; and
indexes for what is for one person among everybody's messages, for answers about a run, and for what was refused among all that came.
"""

from alembic import op

revision = "0036"
down_revision = "0035"

# Of the parts that the parser of texts takes a word into only the end is a beginning: of `ops-12` any lexeme may begin with `-12`, but
# each that begins with `ops` would have to be looked up, and there may be one for every ticket.
_PARTS = r"""
CREATE FUNCTION countersign_parts_query(words text[]) RETURNS tsquery LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT coalesce(string_agg('''' || replace(replace(part, '\', '\\'), '''', '''''') || ''''
           || CASE WHEN right(ending, length(part)) = part THEN ':*' ELSE '' END, ' & '), '')::tsquery
FROM unnest(words) word, regexp_replace(word, '\W+$', '') ending, unnest(tsvector_to_array(to_tsvector('simple', word))) part
$$;
"""

# What many match is among the newest, which are read in their order until there are enough: a row takes half a microsecond so. What few
# match the inverted index has, in no order: a row takes twenty of them. Which of the two it is the planner's statistics say, once it is
# not among the first 20,000. What was recorded since the housekeeper's last turn is looked at as it is.
_ESTIMATE = """
CREATE FUNCTION countersign_depth(rows_of regclass, wanted tsquery, most int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM %s WHERE words @@ %L', rows_of, wanted) INTO plan;
    RETURN least(250000, 4.0 * most * (SELECT reltuples FROM pg_class WHERE oid = rows_of) / (plan #>> '{0,Plan,Plan Rows}')::float);
END $$;
"""
_SETTINGS = """SET enable_bitmapscan = on SET plan_cache_mode = force_custom_plan SET work_mem = '32MB' SET jit = off
    SET max_parallel_workers_per_gather = 0"""
_SEARCH_RUNS = f"""
CREATE OR REPLACE FUNCTION countersign_search_runs(
    wanted tsquery, below bigint, above bigint, since timestamptz, until timestamptz, most int
) RETURNS SETOF bigint LANGUAGE plpgsql VOLATILE {_SETTINGS} AS $$
DECLARE
    mark bigint := (SELECT at_us - 10000000 FROM audit_marks WHERE name = 'searched');
    fresh bigint[] := ARRAY(SELECT r.number FROM (SELECT DISTINCT e.run_id FROM (SELECT run_id FROM audit_events WHERE at_us > mark
        AND run_id IS NOT NULL ORDER BY at_us DESC LIMIT 5000) e) f JOIN runs r ON r.id = f.run_id);
    found bigint[] := ARRAY(SELECT r.number FROM unnest(fresh) f JOIN runs r ON r.number = f WHERE r.number < below AND r.number >= above
        AND r.created_at >= since AND r.created_at < until AND countersign_run_words(r) @@ wanted);
    depth int := 20000;
    hits bigint[];
BEGIN
    LOOP
        hits := ARRAY(SELECT s.number FROM (SELECT * FROM run_searches WHERE number < below AND number >= above
            ORDER BY number DESC LIMIT depth) s WHERE s.words @@ wanted AND s.created_at >= since AND s.created_at < until
            AND s.number <> ALL (fresh) LIMIT most);
        EXIT WHEN cardinality(hits) >= most OR depth > 20000;
        depth := countersign_depth('run_searches', wanted, most);
        EXIT WHEN depth NOT BETWEEN 20001 AND 100000;
    END LOOP;
    IF cardinality(hits) < most THEN
        hits := ARRAY(WITH all_of AS MATERIALIZED (SELECT number, created_at FROM run_searches WHERE words @@ wanted)
            SELECT number FROM all_of WHERE number < below AND number >= above AND created_at >= since AND created_at < until
            AND number <> ALL (fresh) ORDER BY number DESC LIMIT most);
    END IF;
    RETURN QUERY SELECT n FROM unnest(found || hits) n ORDER BY n DESC LIMIT most;
END $$;
"""  # noqa: S608  built from constants
_SEARCH_EVENTS = f"""
CREATE OR REPLACE FUNCTION countersign_search_events(
    wanted tsquery, below_us bigint, below_seq bigint, since bigint, until bigint, most int
) RETURNS TABLE (at_us bigint, seq bigint) LANGUAGE plpgsql VOLATILE {_SETTINGS} AS $$
#variable_conflict use_column
DECLARE
    mark bigint := (SELECT m.at_us - 10000000 FROM audit_marks m WHERE m.name = 'searched');
    first_us bigint := least(below_us, until);
    first_seq bigint := CASE WHEN below_us < until THEN below_seq ELSE 0 END;
    depth int := 20000;
    hits_us bigint[];
    hits_seq bigint[];
BEGIN
    LOOP
        SELECT array_agg(n.at_us), array_agg(n.seq) INTO hits_us, hits_seq FROM (
            SELECT n.at_us, n.seq FROM (SELECT * FROM event_searches s WHERE (s.at_us, s.seq) < (first_us, first_seq) AND s.at_us >= since
                ORDER BY s.at_us DESC, s.seq DESC LIMIT depth) n WHERE n.words @@ wanted LIMIT most) n;
        EXIT WHEN cardinality(hits_us) >= most OR depth > 20000;
        depth := countersign_depth('event_searches', wanted, most);
        EXIT WHEN depth NOT BETWEEN 20001 AND 200000;
    END LOOP;
    IF coalesce(cardinality(hits_us), 0) < most THEN
        SELECT array_agg(f.at_us), array_agg(f.seq) INTO hits_us, hits_seq FROM (
            WITH all_of AS MATERIALIZED (SELECT s.at_us, s.seq FROM event_searches s WHERE s.words @@ wanted)
            SELECT f.at_us, f.seq FROM all_of f WHERE (f.at_us, f.seq) < (first_us, first_seq) AND f.at_us >= since
            ORDER BY f.at_us DESC, f.seq DESC LIMIT most) f;
    END IF;
    RETURN QUERY WITH fresh AS MATERIALIZED (
        SELECT e.at_us, e.seq FROM (SELECT a.at_us, a.seq, a.kind, a.actor, a.canonical FROM audit_events a WHERE a.at_us > mark
            ORDER BY a.at_us DESC LIMIT 5000) e
        WHERE NOT EXISTS (SELECT FROM event_searches s WHERE s.at_us = e.at_us AND s.seq = e.seq)
        AND countersign_event_words(e.kind, e.actor, e.canonical::jsonb -> 'detail') @@ wanted)
    SELECT u.at_us, u.seq FROM (SELECT f.at_us, f.seq FROM fresh f UNION ALL SELECT * FROM unnest(hits_us, hits_seq)) u (at_us, seq)
    WHERE (u.at_us, u.seq) < (first_us, first_seq) AND u.at_us >= since ORDER BY u.at_us DESC, u.seq DESC LIMIT most;
END $$;
"""  # noqa: S608  built from constants
_INDEXES = """
CREATE INDEX ix_messages_person ON messages (person, platform, created_at) WHERE channel = '' AND follows IS NULL;
CREATE INDEX ix_messages_reply ON messages (run_id) WHERE kind = 'reply';
CREATE INDEX ix_deliveries_refused ON deliveries (received_at, id) WHERE state IN ('rejected', 'failed');
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statement in (_PARTS, _ESTIMATE, _SEARCH_RUNS, _SEARCH_EVENTS, "DROP INDEX ix_audit_events_kind", _INDEXES):
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
