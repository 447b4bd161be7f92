"""Erasing what the database holds about a person, or about runs; and legal holds, which stop both."""

from alembic import op

revision = "0042"
down_revision = "0041"

_HOLDS = """
CREATE TABLE legal_holds (
    id uuid NOT NULL CONSTRAINT pk_legal_holds PRIMARY KEY,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL CONSTRAINT ck_legal_holds_kind CHECK (kind IN ('person', 'run', 'command')),
    target text NOT NULL,
    reason text NOT NULL,
    held_by text NOT NULL,
    held_at timestamptz NOT NULL DEFAULT countersign_now(),
    run_id uuid NOT NULL CONSTRAINT fk_legal_holds_run_id REFERENCES runs (id),
    lifted_at timestamptz,
    lifted_by text
);
CREATE UNIQUE INDEX uq_legal_holds_target ON legal_holds (kind, target) WHERE lifted_at IS NULL;
CREATE FUNCTION countersign_held(r runs) RETURNS boolean LANGUAGE sql STABLE AS $$
SELECT EXISTS (SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND CASE h.kind WHEN 'run' THEN h.target = r.number::text
    WHEN 'command' THEN h.target = r.command ELSE h.target IN (r.asker, r.handed_to, r.edited_by)
    OR EXISTS (SELECT FROM decisions d WHERE d.run_id = r.id AND h.target IN (d.person, d.on_behalf)) END)
$$;
GRANT SELECT ON legal_holds TO countersign_web, countersign_worker;
GRANT INSERT, UPDATE ON legal_holds TO countersign_worker;
"""

# A row of the record may lose its payload and nothing else, and only by the function below: neither running role may update the table.
_FADING = """
DROP TRIGGER audit_events_insert_only ON audit_events;
CREATE TRIGGER audit_events_insert_only BEFORE DELETE OR TRUNCATE ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_events_fade BEFORE UPDATE ON audit_events FOR EACH ROW
    WHEN (OLD.payload IS NULL OR NEW.payload IS NOT NULL OR NEW.salt IS NOT NULL OR NEW.canonical <> OLD.canonical OR NEW.leaf <> OLD.leaf
          OR NEW.id <> OLD.id OR NEW.seq <> OLD.seq) EXECUTE FUNCTION audit_refuse_change();
"""

# Whoever took a worker over may call these, as he may do whatever workers do; so they ask for a run that may erase and that has begun, or
# leave the last 30 days alone, and what they did is in the record in the same statement.
_ERASE_EVENTS = """
CREATE FUNCTION countersign_erase_events(ids uuid[], erasing uuid, days int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    whose text := 'countersign';
    done uuid[];
BEGIN
    IF erasing IS NOT NULL THEN
        SELECT asker INTO whose FROM runs WHERE id = erasing AND command = 'people erase' AND status IN ('running', 'succeeded');
    END IF;
    IF whose IS NULL OR (erasing IS NULL) = (days IS NULL) OR days < 30 THEN
        RAISE EXCEPTION 'only a run of people erase that has begun, or the end of at least 30 days, erases a payload'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    WITH gone AS (UPDATE audit_events e SET payload = NULL, salt = NULL FROM unnest(ids) i (id) WHERE e.id = i.id AND e.payload IS NOT NULL
        AND (days IS NULL OR e.at_us < (extract(epoch FROM countersign_now() - make_interval(days => days)) * 1000000)::bigint - 1000000)
        AND NOT EXISTS (SELECT FROM runs r WHERE r.id = e.run_id AND countersign_held(r))
        AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.lifted_at IS NULL AND h.kind = 'person' AND h.target = e.actor) RETURNING e.*),
    unsaid AS (UPDATE event_searches s SET words = countersign_event_words(g.kind, g.actor, g.canonical::jsonb -> 'detail')
        FROM gone g WHERE s.at_us = g.at_us AND s.seq = g.seq)
    SELECT array_agg(id) INTO done FROM gone;
    IF done IS NOT NULL THEN
        INSERT INTO audit_events (id, canonical) VALUES (gen_random_uuid(), json_build_object('kind', 'payload:erased', 'actor', whose,
            'run', erasing, 'detail', jsonb_strip_nulls(jsonb_build_object('events', to_jsonb(done), 'days', days)))::text);
    END IF;
    RETURN coalesce(cardinality(done), 0);
END $$;
"""

# What is left of a run: that it was asked, by whom, when, of which command, with which digest, what was decided, and how it ended.
_ERASE_RUNS = """
CREATE FUNCTION countersign_erase_runs(ids uuid[], said text) RETURNS int LANGUAGE plpgsql AS $$
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
    UPDATE inbox SET answer = NULL WHERE run_id = ANY (these);
    UPDATE deliveries SET body = '', said = '' WHERE run_id = ANY (these);
    UPDATE messages SET card = NULL, error = '', answer_to = NULL, due_at = CASE WHEN card IS NULL THEN due_at END
        WHERE run_id = ANY (these);
    UPDATE artifacts SET dropped_at = coalesce(dropped_at, countersign_now()), name = 'erased-' || id WHERE run_id = ANY (these);
    UPDATE run_searches s SET words = countersign_run_words(r) FROM runs r WHERE r.id = ANY (these) AND s.number = r.number;
    RETURN coalesce(cardinality(these), 0);
END $$;
"""

# How a person is written in what others typed or what came from elsewhere: as a JSON string that is the name, the address, an account.
_ABOUT = """
CREATE FUNCTION countersign_marks_of(who text) RETURNS text[] LANGUAGE sql STABLE AS $$
SELECT array_agg(m) FROM (SELECT to_json(who)::text UNION ALL SELECT email FROM people WHERE name = who AND email <> ''
    UNION ALL SELECT to_json(account)::text FROM chat_accounts WHERE person = who) marks (m)
$$;
CREATE FUNCTION countersign_runs_about(who text) RETURNS SETOF runs LANGUAGE sql STABLE AS $$
SELECT r.* FROM runs r WHERE who IN (r.asker, r.handed_to, r.edited_by) OR EXISTS (SELECT FROM unnest(countersign_marks_of(who)) m
    WHERE strpos(r.arguments::text, m) > 0)
$$;
CREATE FUNCTION countersign_events_about(who text, but uuid) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
WITH about AS MATERIALIZED (SELECT id FROM countersign_runs_about(who)), marks AS MATERIALIZED (SELECT countersign_marks_of(who) AS of_them)
SELECT e.id FROM audit_events e, marks WHERE e.payload IS NOT NULL AND e.run_id IS DISTINCT FROM but AND e.kind <> 'payload:erased'
AND (e.actor = who OR e.run_id IN (SELECT id FROM about) OR EXISTS (SELECT FROM unnest(marks.of_them) m WHERE strpos(e.payload, m) > 0))
$$;
"""

# Names stand in columns of these names; whoever adds another finds it in the story that looks for the name everywhere.
_ERASE_PERSON = r"""
CREATE FUNCTION countersign_erase_person(who text, erasing uuid) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    known people := (SELECT p FROM people p WHERE name = who AND NOT service AND NOT active);
    said text;
    word text := '\m' || regexp_replace(who, '([.+-])', '\\\1', 'g') || '\M';
    one record;
    erased int;
BEGIN
    SELECT 'what was said about this was erased on ' || to_char(countersign_now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || ' by ' || asker
        || ' under run ' || number INTO said FROM runs WHERE id = erasing AND command = 'people erase' AND status = 'running';
    IF said IS NULL OR known IS NULL OR EXISTS (SELECT FROM legal_holds WHERE lifted_at IS NULL AND kind = 'person' AND target = who)
        OR EXISTS (SELECT FROM countersign_runs_about(who) r WHERE r.id <> erasing AND countersign_held(r)) THEN
        RAISE EXCEPTION 'only a run of people erase that has begun erases a person, who is not active, and whom no legal hold covers'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    erased := countersign_erase_runs(ARRAY(SELECT id FROM countersign_runs_about(who) WHERE id <> erasing), said);
    UPDATE decisions SET reason = '', proof = NULL WHERE person = who;
    UPDATE breaks SET reason = '' WHERE person = who;
    UPDATE reviews SET finding = '' WHERE signed_by = who;
    UPDATE conversations SET said = '' WHERE person = who;
    UPDATE tasks SET answer = NULL WHERE answered_by = who;
    UPDATE alert_history SET said = '' WHERE by = who;
    UPDATE schedules SET reason = '' WHERE owner = who;
    UPDATE switches SET reason = '' WHERE on_by = who;
    UPDATE tokens SET label = '' WHERE person = who;
    UPDATE passkeys SET label = '' WHERE person = who;
    UPDATE messages SET card = NULL, error = '', answer_to = NULL, account = '', remote_channel = NULL, remote_id = NULL, due_at = NULL
        WHERE person = who;
    UPDATE messages SET card = NULL, error = '', due_at = NULL WHERE card IS NOT NULL AND (card::text ~ word
        OR strpos(card::text, known.email) > 0 OR run_id IN (SELECT run_id FROM decisions WHERE person = who
        UNION SELECT run_id FROM conversations WHERE person = who));
    UPDATE runs SET outcome = regexp_replace(outcome, word, known.alias, 'g') WHERE outcome ~ word;
    UPDATE steps SET error = regexp_replace(error, word, known.alias, 'g') WHERE error ~ word;
    DELETE FROM passkey_challenges WHERE person = who;
    DELETE FROM views WHERE owner = who;
    DELETE FROM chat_accounts WHERE person = who;
    DELETE FROM memberships WHERE person = who;
    DELETE FROM directory_feed f USING directory_people d WHERE d.person = who AND f.resource = d.resource;
    DELETE FROM directory_people WHERE person = who;
    WITH unnamed AS (UPDATE policies SET body = regexp_replace(replace(body, coalesce(known.email, who), 'erased'), word, known.alias, 'g')
        WHERE NOT in_force AND (body ~ word OR strpos(body, known.email) > 0) RETURNING digest)
    INSERT INTO audit_events (id, canonical) SELECT gen_random_uuid(), json_build_object('kind', 'payload:erased', 'actor', r.asker, 'run',
        erasing, 'detail', json_build_object('events', json_build_array(), 'policies', u.digests))::text
    FROM (SELECT json_agg(digest) AS digests FROM unnamed) u, runs r WHERE u.digests IS NOT NULL AND r.id = erasing;
    UPDATE people SET alias = name WHERE name = who;
    INSERT INTO people (name, alias, active, created_at) VALUES (known.alias, known.alias, false, known.created_at);
    FOR one IN SELECT c.table_name, string_agg(CASE c.data_type WHEN 'text'
            THEN format('%1$I = CASE %1$I WHEN $1 THEN $2 ELSE %1$I END', c.column_name)
            ELSE format('%1$I = array_replace(%1$I, $1, $2)', c.column_name) END, ', ') AS assigned,
            string_agg(CASE c.data_type WHEN 'text' THEN format('%I = $1', c.column_name)
            ELSE format('$1 = ANY (%I)', c.column_name) END, ' OR ') AS found
        FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
        WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.data_type IN ('text', 'ARRAY')
        AND c.table_name <> 'audit_events' AND (c.column_name LIKE '%\_by' OR c.column_name IN ('asker',
            'assignees', 'by', 'delegate', 'escalate_to', 'handed_to', 'holder', 'involved', 'line', 'manager', 'on_behalf', 'owner',
            'people', 'person', 'subject')) GROUP BY 1
    LOOP
        EXECUTE format('UPDATE %I SET %s WHERE %s', one.table_name, one.assigned, one.found) USING who, known.alias;
    END LOOP;
    DELETE FROM people WHERE name = who;
    UPDATE run_searches s SET words = countersign_run_words(r) FROM runs r
        WHERE s.number = r.number AND known.alias IN (r.asker, r.handed_to, r.edited_by);
    RETURN erased;
END $$;
"""

# An erasing run names whom it erased until it has ended and a housekeeper takes it up.
_ERASE_OWN = """
CREATE FUNCTION countersign_erase_traces() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    one runs;
BEGIN
    SELECT * INTO one FROM runs WHERE command = 'people erase' AND status = 'succeeded' AND arguments <> '{}'
        AND moved_at < countersign_now() - interval '5 seconds' ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF one.id IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM countersign_erase_events(ARRAY(SELECT id FROM audit_events WHERE run_id = one.id AND kind <> 'payload:erased'), one.id, NULL);
    RETURN countersign_erase_runs(ARRAY[one.id], one.outcome);
END $$;
"""

_RIGHTS = """
REVOKE ALL ON FUNCTION countersign_erase_events(uuid[], uuid, int), countersign_erase_runs(uuid[], text), countersign_erase_traces(),
    countersign_erase_person(text, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION countersign_erase_events(uuid[], uuid, int), countersign_erase_person(text, uuid), countersign_erase_traces()
    TO countersign_worker;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for statements in (_HOLDS, _FADING, _ERASE_EVENTS, _ERASE_RUNS, _ABOUT, _ERASE_PERSON, _ERASE_OWN, _RIGHTS):
        op.execute(statements)


def downgrade() -> None:
    raise NotImplementedError("migrations only go forward; restore a backup to go back")
