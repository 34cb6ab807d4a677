-- What tests do to time. No migration loads this file: its functions are made anew, as temporary ones, in the
-- transaction that calls them, and only in a schema that is marked as being for tests.

-- The comment on this schema.
CREATE OR REPLACE FUNCTION pg_temp.flowstone_test_mark()
    RETURNS text
    LANGUAGE sql
AS $$
    SELECT obj_description(current_schema()::regnamespace, 'pg_namespace');
$$;

-- Let time pass: every instant that is stored moves into the past.
--
-- Tables and columns are those of the catalogue, so that a new one is not forgotten, a plugin's neither. What
-- workers say of themselves stays: those that live would seem dead until their next beat. Years from 9999 on mean never.
-- procrastinate notes for each job that waits for its time that it was put to another one.
--
-- Locks: all tables it writes to, against every other writer. It waits for jobs, as turns do, while it holds nothing; the rest
-- it takes at once or not at all, so that one who has written to a later table meanwhile can go on.
CREATE OR REPLACE FUNCTION pg_temp.flowstone_advance(p_by interval)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_tables text;
    v_updates text[];
    v_update text;
BEGIN
    SELECT string_agg(t.name::text, ', '), array_agg(format('UPDATE %s SET %s', t.name, t.moved))
    INTO v_tables, v_updates
    FROM (
        SELECT
            c.oid::regclass AS name,
            string_agg(
                format('%1$I = CASE WHEN %1$I < ''9999-01-01'' THEN %1$I - $1 ELSE %1$I END', a.attname),
                ', ' ORDER BY a.attnum
            ) AS moved
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = current_schema()::regnamespace
            AND c.relkind = 'r'
            AND (
                c.relname LIKE 'flowstone\_%'
                OR c.relname IN ('procrastinate_jobs', 'procrastinate_events')
                -- A plugin's begin with its name, and its version table tells that name.
                OR EXISTS (
                    SELECT FROM pg_class v
                    WHERE v.relnamespace = c.relnamespace
                        AND v.relname LIKE '_%\_alembic\_version'
                        AND starts_with(c.relname::text, replace(v.relname, 'alembic_version', ''))
                )
            )
            AND c.relname <> 'flowstone_workers'
            AND a.atttypid = 'timestamptz'::regtype
            AND a.attnum > 0
            AND NOT a.attisdropped
        GROUP BY c.oid
    ) t;

    LOOP
        BEGIN
            LOCK TABLE procrastinate_jobs IN EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE %s IN EXCLUSIVE MODE NOWAIT', v_tables);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.001);
        END;
    END LOOP;
    FOREACH v_update IN ARRAY v_updates LOOP
        EXECUTE v_update USING p_by;
    END LOOP;
END;
$$;

-- End a worker's lease, as if it had not beaten for so long.
CREATE OR REPLACE FUNCTION pg_temp.flowstone_lapse(p_worker bigint)
    RETURNS void
    LANGUAGE sql
AS $$
    UPDATE flowstone_workers w SET heartbeat_at = clock_timestamp() - w.lease_ms * interval '1 ms'
    WHERE w.id = p_worker;
$$;
