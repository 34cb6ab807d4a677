-- Describe every object of procrastinate in the current schema, one row each.            :many
--   object      "column procrastinate_jobs.args": what it is and its name
--   definition  in words that are the same on every Postgres from 14 to 18
--   enabled     of triggers only: false for a disabled one
-- Functions are compared by their text without white space. Labels of enums are sorted, and columns
-- are not numbered: a database that grew through procrastinate's migrations has others orders.
-- NOT NULL is a property of the column here (Postgres 18 also lists it as a constraint).

WITH relations AS (
    SELECT oid, relname
    FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace
        AND relkind IN ('r', 'p')
        AND starts_with(relname, 'procrastinate_')
)

SELECT
    'column ' || r.relname || '.' || a.attname AS object,
    concat_ws(
        ' ',
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' END,
        'default ' || pg_get_expr(d.adbin, d.adrelid),
        CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END
    ) AS definition,
    NULL::boolean AS enabled
FROM relations AS r
JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum

UNION ALL
SELECT
    'constraint ' || r.relname || '.' || c.conname,
    pg_get_constraintdef(c.oid, true),
    NULL
FROM relations AS r
JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype <> 'n'

UNION ALL
SELECT
    'index ' || c.relname,
    pg_get_indexdef(i.indexrelid, 0, true) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END,
    NULL
FROM relations AS r
JOIN pg_index AS i ON i.indrelid = r.oid
JOIN pg_class AS c ON c.oid = i.indexrelid

UNION ALL
SELECT
    'trigger ' || r.relname || '.' || t.tgname,
    pg_get_triggerdef(t.oid, true),
    t.tgenabled IN ('O', 'A')
FROM relations AS r
JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal

UNION ALL
SELECT
    'type ' || t.typname,
    'enum ' || string_agg(e.enumlabel, ', ' ORDER BY e.enumlabel COLLATE "C"),
    NULL
FROM pg_type AS t
JOIN pg_enum AS e ON e.enumtypid = t.oid
WHERE t.typnamespace = quote_ident(current_schema())::regnamespace
    AND starts_with(t.typname, 'procrastinate_')
GROUP BY t.typname

UNION ALL
SELECT
    'type ' || c.relname,
    string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum),
    NULL
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
    AND c.relkind = 'c'
    AND starts_with(c.relname, 'procrastinate_')
GROUP BY c.relname

UNION ALL
SELECT
    'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
    concat_ws(
        ' ',
        'returns', pg_get_function_result(p.oid),
        'language', l.lanname,
        'text', md5(regexp_replace(p.prosrc, '[[:space:]]+', '', 'g'))
    ),
    NULL
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
    AND starts_with(p.proname, 'procrastinate_')

ORDER BY object;
