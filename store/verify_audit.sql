-- The queries of verify_audit.py, each under its name.

--: odd
-- Views, rules, row security, a missing key or a column that is no longer derived could show people something else than what is hashed.
SELECT 'the table ' || relname || ' is not what it was: a view, rule, row security, child table or missing key can hide rows'
FROM pg_class c WHERE oid = ANY (ARRAY['audit_events', 'audit_leaves', 'audit_blocks']::regclass[]) AND (
    relkind <> 'r' OR relhasrules OR relrowsecurity OR relhassubclass OR (SELECT count(*) FROM pg_index WHERE indrelid = c.oid
    AND indisunique AND indisvalid AND indpred IS NULL) < CASE relname WHEN 'audit_leaves' THEN 2 ELSE 1 END)
UNION ALL
SELECT 'the column ' || must.name || ' of audit_events is no longer derived from the text, so what it shows is not proven'
FROM (VALUES ('at_us', 'substrcanonical,54,16::bigint'), ('kind', $$canonical::jsonb->>'kind'$$),
    ('actor', $$CASE"left"payload,10WHEN'{"actor":"'THENsplit_partpayload,'"',4ELSEcanonical::jsonb->>'actor'END$$),
    ('run_id', $$canonical::jsonb->>'run'::uuid$$)) AS must (name, rule) WHERE NOT EXISTS (SELECT FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = 'audit_events'::regclass AND attname = must.name AND attgenerated = 's'
    AND replace(translate(pg_get_expr(adbin, adrelid), E'() \n', ''), '::text', '') = must.rule)

--: headers
SELECT n, prev, root, count, first_us, last_us, sealed_us, key_id, signature,
       sealed_us < (extract(epoch FROM clock_timestamp()) - %s) * 1000000 AS old FROM audit_blocks ORDER BY n

--: events
-- Some pages at a time, because fetching row by row costs more than hashing.
SELECT events.* FROM generate_series(0, pg_relation_size('audit_events') / current_setting('block_size')::int, 16) AS page
CROSS JOIN LATERAL (
    SELECT array_agg(coalesce(canonical, '')), string_agg(coalesce(leaf, ''), ''), string_agg(uuid_send(id), ''),
           bool_and(octet_length(leaf) = 32),
           string_agg(coalesce(encode(sha256('\x02'::bytea || uuid_send(salt) || convert_to(payload, 'UTF8')), 'hex'), repeat('0', 64)), '')
    FROM audit_events
    WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', page + 16)::tid) AS events

--: leaves
SELECT block, string_agg(leaf, '' ORDER BY position), string_agg(uuid_send(event_id), '' ORDER BY position),
       string_agg(int4send(position), '' ORDER BY position), bool_and(octet_length(leaf) = 32)
FROM audit_leaves GROUP BY block ORDER BY block

--: placed
SELECT u.id::text, l.block, l.position, l.leaf AS sealed, convert_to(e.canonical, 'UTF8') AS text, e.leaf, ARRAY[e.at_us, e.seq] AS time,
       EXISTS (SELECT FROM audit_unsealed WHERE event_id = u.id) AS queued,
       abs(extract(epoch FROM clock_timestamp()) - e.at_us / 1000000.0) > %s AS late
FROM unnest(%s::uuid[]) AS u (id) LEFT JOIN audit_events e ON e.id = u.id LEFT JOIN audit_leaves l ON l.event_id = u.id
ORDER BY l.block, l.position, e.at_us, e.seq

--: faded
-- An erasure covers what it names if a run that may erase made it, or if what it names was older than so many days by then,
-- which are at least 30: nobody who took a worker over can say that yesterday's time was over.
WITH erasures AS MATERIALIZED (SELECT named.id, x.at_us - coalesce((x.detail ->> 'days')::numeric, 0) * 86400000000 AS before,
    to_char(to_timestamp(x.at_us / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD') || coalesce(' by ' || x.actor || ' under run ' || s.run_id,
    ' because ' || (x.detail ->> 'days') || ' days were over') AS told
  FROM (SELECT at_us, run_id, actor, canonical::jsonb -> 'detail' AS detail FROM audit_events WHERE kind = 'payload:erased') x
  LEFT JOIN audit_events s ON s.run_id = x.run_id AND s.kind = 'run:submitted' AND s.at_us <= x.at_us
    AND s.canonical::jsonb #>> '{detail,command}' = ANY (%s)
    AND EXISTS (SELECT FROM audit_events r WHERE r.run_id = x.run_id AND r.kind = 'run:running' AND r.at_us <= x.at_us)
  CROSS JOIN jsonb_array_elements_text(CASE jsonb_typeof(x.detail -> 'events') WHEN 'array' THEN x.detail -> 'events' ELSE '[]' END) named (id)
  WHERE CASE WHEN x.detail ? 'days' THEN x.detail -> 'days' >= '30' AND jsonb_typeof(x.detail -> 'days') = 'number'
    ELSE s.id IS NOT NULL END)
SELECT l.block, l.position, o.id::text, e.payload IS NULL, min(x.told) FROM unnest(%s::uuid[]) o (id) JOIN audit_events e USING (id)
LEFT JOIN audit_leaves l ON l.event_id = o.id LEFT JOIN erasures x ON x.id = o.id::text AND e.payload IS NULL AND e.at_us < x.before
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
