-- Unique jobs: a key has one holder, a job whose states, and whose window, cover where it stands.
--
--     enqueued ──▶ holds its key ──┬─ ends, or runs, uncovered ──▶ lets go of it
--                       ▲          └─ its window passes ──▶ holds it until somebody takes it over
--                       └── is to do again, or ends, covered, while it is free
--
-- The primary key of flowstone_unique_keys is the judge. Who takes a key waits for another who is about to
-- take it or to let go of it, and never for a job; who lets go of a key waits for nobody. Rows of jobs
-- without a key cost a look at a null in the trigger's condition, and nothing else. How a job that moves keeps
-- its key or lets go of it: 77_keep_unique.sql.

-- The bit of unique_states that a status belongs to.
CREATE FUNCTION flowstone_unique_state(p_status flowstone_status)
    RETURNS integer
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT CASE p_status
        WHEN 'running' THEN 2
        WHEN 'succeeded' THEN 4
        WHEN 'skipped' THEN 4
        WHEN 'failed' THEN 8
        WHEN 'cancelled' THEN 16
        ELSE 1
    END;
$$;

-- Take these keys, each for its job, and return who holds those that could not be had.
--
-- Keys are distinct and sorted. One is also taken over: from a job whose window has passed, or that is gone.
-- p_is_tried: the caller has just inserted what was free. Who holds keys and tries once more may wait for
-- somebody who waits for him, so that is for what was let go of in between.
CREATE FUNCTION flowstone_take_unique_keys(p_keys text[], p_ids bigint[], p_is_tried boolean DEFAULT false)
    RETURNS TABLE (key text, holder bigint)
    LANGUAGE plpgsql
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_taken bigint;
    v_free text[];
    v_known bigint;
    v_keys text[];
    v_holders bigint[];
BEGIN
    LOOP
        IF NOT p_is_tried THEN
            INSERT INTO flowstone_unique_keys (key, materialization_id)
            SELECT wanted.key, wanted.id FROM unnest(p_keys, p_ids) AS wanted(key, id)
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS v_taken = ROW_COUNT;
            IF v_taken = cardinality(p_keys) THEN
                RETURN;
            END IF;
        END IF;
        p_is_tried := false;

        -- A key is looked up by a subquery: of a join the plan may be to read all keys, if there were none. A
        -- snapshot that lasts (repeatable read) shows two rows of one that was let go of and taken just now.
        v_free := ARRAY(
            SELECT wanted.key
            FROM unnest(p_keys, p_ids) WITH ORDINALITY AS wanted(key, id, place)
            WHERE (
                SELECT bool_and(
                    k.materialization_id <> wanted.id AND (
                        SELECT (m.unique_until <= clock_timestamp()) IS TRUE
                        FROM flowstone_materializations m
                        WHERE m.id = k.materialization_id
                    ) IS NOT FALSE
                )
                FROM flowstone_unique_keys k
                WHERE k.key = wanted.key
            )
            ORDER BY wanted.place
        );
        IF v_free <> '{}' THEN
            PERFORM FROM flowstone_unique_keys k WHERE k.key = ANY (v_free) ORDER BY k.key FOR UPDATE;
            PERFORM flowstone_take_over_keys(v_free, p_keys, p_ids);
        END IF;

        -- Own ones are looked for apart, as such a snapshot also shows who had a key before.
        SELECT
            count(coalesce(own.key, other.key)),
            array_agg(other.key) FILTER (WHERE own.key IS NULL AND other.key IS NOT NULL),
            array_agg(other.materialization_id) FILTER (WHERE own.key IS NULL AND other.key IS NOT NULL)
        INTO v_known, v_keys, v_holders
        FROM unnest(p_keys, p_ids) AS wanted(key, id)
        LEFT JOIN flowstone_unique_keys own ON own.key = wanted.key AND own.materialization_id = wanted.id
        LEFT JOIN flowstone_unique_keys other ON other.key = wanted.key AND own.key IS NULL;
        -- One that is missing was let go of in between.
        EXIT WHEN v_known = cardinality(p_keys);
    END LOOP;
    RETURN QUERY SELECT lost.key, lost.holder FROM unnest(v_keys, v_holders) AS lost(key, holder);
END;
$$;

-- Take these keys, whose rows are locked, for their jobs, if they still are free: until they were locked, somebody
-- else may have taken one over. Joins are with arrays, which may be long.
CREATE FUNCTION flowstone_take_over_keys(p_free text[], p_keys text[], p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
    SET enable_seqscan = off
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET enable_hashjoin = on
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    UPDATE flowstone_unique_keys k SET materialization_id = wanted.id
    FROM unnest(p_keys, p_ids) AS wanted(key, id)
    WHERE k.key = ANY (p_free)
        AND k.key = wanted.key
        AND k.materialization_id <> wanted.id
        AND (
            SELECT (m.unique_until <= clock_timestamp()) IS TRUE
            FROM flowstone_materializations m
            WHERE m.id = k.materialization_id
        ) IS NOT FALSE;
END;
$$;

-- Give jobs that hold these keys, and still wait, what was enqueued in their place; return which ones.
--
-- All joins are with arrays, which may be long; rows are found by their ids and keys. Locks: jobs, materializations.
CREATE FUNCTION flowstone_replace_waiting(
    p_keys text[],
    p_arguments text[],
    p_queues text[],
    p_priorities integer[],
    p_due timestamptz[],
    p_limit_keys text[],
    p_lanes text[]
)
    RETURNS TABLE (key text, holder bigint)
    LANGUAGE plpgsql
    SET enable_seqscan = off
    SET enable_nestloop = off
    SET enable_mergejoin = off
    SET enable_hashjoin = on
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_waiting bigint[];
BEGIN
    v_waiting := ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.id = ANY (ARRAY(
                SELECT k.materialization_id FROM flowstone_unique_keys k WHERE k.key = ANY (p_keys)
            ))
            AND j.status::text = 'todo'
        ORDER BY j.id
        FOR UPDATE
    );
    RETURN QUERY
    WITH given AS MATERIALIZED (
        -- A snapshot that lasts shows two rows of a key that was let go of and taken just now: the newer one is there.
        SELECT s.*, (
            SELECT max(k.materialization_id) FROM flowstone_unique_keys k WHERE k.key = s.key
        ) AS holder
        FROM unnest(p_keys, p_arguments, p_queues, p_priorities, p_due, p_limit_keys, p_lanes)
            AS s(key, arguments, queue, priority, due, limit_key, lane)
    ),
    replaced AS (
        UPDATE flowstone_materializations m
        SET arguments = given.arguments::json,
            queue = given.queue,
            priority = given.priority,
            limit_key = given.limit_key,
            lane = given.lane
        FROM given
        WHERE m.id = ANY (v_waiting)
            AND m.id = given.holder
            AND m.status = 'ready'
            AND (m.unique_until <= clock_timestamp()) IS NOT TRUE
        RETURNING m.id, m.asset, given.key, given.queue, given.priority, given.due, given.limit_key, given.lane
    ),
    job AS (
        UPDATE procrastinate_jobs j
        SET queue_name = replaced.queue,
            priority = replaced.priority,
            scheduled_at = replaced.due,
            task_name = flowstone_task_of_job(replaced.limit_key, replaced.lane),
            args = flowstone_args_of_job(replaced.asset, replaced.limit_key, replaced.lane)
        FROM replaced
        WHERE j.id = ANY (v_waiting) AND j.id = replaced.id
    )
    SELECT replaced.key, replaced.id FROM replaced;
    PERFORM flowstone_notify_queues(v_waiting);
END;
$$;

-- What becomes of jobs that are to be enqueued, in the order given: the id to enter each with (null: it is
-- not entered), the id of the job that stands for it, and why that one does: created, replaced, existing.
CREATE TYPE flowstone_unique_fate AS (entered bigint[], ids bigint[], outcomes text[]);

-- Take the keys of jobs that are to be enqueued, or find who holds them. Arrays run in parallel; a job
-- without a key is always entered. Several of one key are as if enqueued one after the other. What is the same for
-- all may be given once, as in flowstone_enqueue_jobs_v1.
--
-- p_conflicts: existing, replace, raise. With raise, a holder is told as FS004: DETAIL is its id and the key.
CREATE FUNCTION flowstone_resolve_unique(
    p_arguments text[],
    p_queues text[],
    p_priorities integer[],
    p_due timestamptz[],
    p_keys text[],
    p_conflicts text[],
    p_limit_keys text[],
    p_lanes text[]
)
    RETURNS flowstone_unique_fate
    LANGUAGE plpgsql
    -- All joins are of arrays, which may be long.
    SET enable_nestloop = off
    SET enable_hashjoin = on
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_fate flowstone_unique_fate;
    v_sequence regclass := pg_get_serial_sequence('procrastinate_jobs', 'id');
    v_ids bigint[];
    v_keys text[];
    v_takers bigint[];
    v_places bigint[];
    v_replacing text[];
    v_replaced_keys text[];
    v_replaced bigint[];
    v_wanted text[];
    v_wanting bigint[];
    v_lost text[];
    v_holders bigint[];
    v_conflict text;
    v_is_tried boolean := false;
    v_taken bigint;
BEGIN
    v_ids := ARRAY(
        SELECT nextval(v_sequence)
        FROM generate_series(1, cardinality(p_keys))
    );
    -- As a rule every job has a key of its own, and gets it. Those that replace others lock these before any key.
    IF ('replace' = ANY (p_conflicts)) IS NOT TRUE THEN
        INSERT INTO flowstone_unique_keys (key, materialization_id)
        SELECT s.key, s.id FROM unnest(p_keys, v_ids) AS s(key, id)
        WHERE s.key IS NOT NULL
        ORDER BY s.key, s.id
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS v_taken = ROW_COUNT;
        IF v_taken = cardinality(array_remove(p_keys, NULL)) THEN
            v_fate.entered := v_ids;
            v_fate.ids := v_ids;
            v_fate.outcomes := array_fill('created'::text, ARRAY[cardinality(p_keys)]);
            RETURN v_fate;
        END IF;
        v_is_tried := true;
    END IF;

    -- A key is taken for the first that has it; the last one says what is done if each replaces the other.
    SELECT
        array_agg(one.key ORDER BY one.key),
        array_agg(v_ids[one.first] ORDER BY one.key),
        array_agg(CASE WHEN one.replaces THEN one.last ELSE one.first END ORDER BY one.key),
        array_agg(one.key) FILTER (WHERE one.replaces)
    INTO v_keys, v_takers, v_places, v_replacing
    FROM (
        SELECT s.key, min(s.place) AS first, max(s.place) AS last, bool_or(coalesce(s.conflict, p_conflicts[1]) = 'replace') AS replaces
        FROM unnest(p_keys, p_conflicts) WITH ORDINALITY AS s(key, conflict, place)
        WHERE s.key IS NOT NULL
        GROUP BY s.key
    ) one;

    LOOP
        IF v_replacing IS NOT NULL THEN
            SELECT v_replaced_keys || array_agg(done.key), v_replaced || array_agg(done.holder)
            INTO v_replaced_keys, v_replaced
            FROM (
                SELECT
                    array_agg(own.key) AS keys, array_agg(s.arguments) AS arguments,
                    array_agg(coalesce(s.queue, p_queues[1])) AS queues,
                    array_agg(coalesce(s.priority, p_priorities[1])) AS priorities, array_agg(s.due) AS due,
                    array_agg(s.limit_key) AS limit_keys, array_agg(s.lane) AS lanes
                FROM unnest(v_replacing) AS it(key)
                JOIN unnest(v_keys, v_places) AS own(key, place) ON own.key = it.key
                JOIN unnest(p_arguments, p_queues, p_priorities, p_due, p_limit_keys, p_lanes)
                    WITH ORDINALITY AS s(arguments, queue, priority, due, limit_key, lane, place)
                    ON s.place = own.place
            ) given
            CROSS JOIN LATERAL flowstone_replace_waiting(
                given.keys, given.arguments, given.queues, given.priorities, given.due, given.limit_keys,
                given.lanes
            ) done;
            v_replacing := ARRAY(SELECT unnest(v_replacing) EXCEPT SELECT unnest(v_replaced_keys));
        END IF;

        v_wanted := v_keys;
        v_wanting := v_takers;
        IF v_replaced_keys IS NOT NULL THEN
            SELECT array_agg(own.key ORDER BY own.key), array_agg(own.taker ORDER BY own.key)
            INTO v_wanted, v_wanting
            FROM unnest(v_keys, v_takers) AS own(key, taker)
            WHERE NOT EXISTS (SELECT FROM unnest(v_replaced_keys) AS done(key) WHERE done.key = own.key);
        END IF;
        v_lost := NULL;
        IF v_wanted IS NOT NULL THEN
            SELECT array_agg(lost.key), array_agg(lost.holder) INTO v_lost, v_holders
            FROM flowstone_take_unique_keys(v_wanted, v_wanting, v_is_tried) lost;
        END IF;
        EXIT WHEN v_lost IS NULL OR v_replacing IS NULL;
        -- One that came to wait between the two steps is replaced like the others.
        EXIT WHEN NOT EXISTS (
            SELECT FROM flowstone_materializations m
            WHERE m.id = ANY (ARRAY(
                    SELECT lost.holder
                    FROM unnest(v_lost, v_holders) AS lost(key, holder)
                    JOIN unnest(v_replacing) AS it(key) ON it.key = lost.key
                ))
                AND m.status = 'ready'
                AND (SELECT j.status FROM procrastinate_jobs j WHERE j.id = m.id) = 'todo'
        );
    END LOOP;

    SELECT lost.holder || ' ' || lost.key INTO v_conflict
    FROM unnest(p_keys, p_conflicts) WITH ORDINALITY AS s(key, conflict, place)
    JOIN unnest(v_lost, v_holders) AS lost(key, holder) ON lost.key = s.key
    WHERE coalesce(s.conflict, p_conflicts[1]) = 'raise'
    ORDER BY s.place
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a unique key is held' USING ERRCODE = 'FS004', DETAIL = v_conflict;
    END IF;

    SELECT
        array_agg(
            CASE WHEN s.key IS NULL THEN v_ids[s.place] WHEN other.key IS NULL AND own.place = s.place THEN own.taker END
            ORDER BY s.place
        ),
        array_agg(coalesce(other.id, own.taker, v_ids[s.place]) ORDER BY s.place),
        array_agg(
            CASE
                WHEN other.key IS NULL AND (s.key IS NULL OR own.taker = v_ids[s.place]) THEN 'created'
                WHEN other.was_replaced OR other.key IS NULL AND coalesce(s.conflict, p_conflicts[1]) = 'replace' THEN 'replaced'
                ELSE 'existing'
            END
            ORDER BY s.place
        )
    INTO v_fate.entered, v_fate.ids, v_fate.outcomes
    FROM unnest(p_keys, p_conflicts) WITH ORDINALITY AS s(key, conflict, place)
    LEFT JOIN unnest(v_keys, v_takers, v_places) AS own(key, taker, place) ON own.key = s.key
    LEFT JOIN (
        SELECT replaced.key, replaced.id, true FROM unnest(v_replaced_keys, v_replaced) AS replaced(key, id)
        UNION ALL
        SELECT lost.key, lost.holder, false FROM unnest(v_lost, v_holders) AS lost(key, holder)
    ) AS other(key, id, was_replaced) ON other.key = s.key;

    RETURN v_fate;
END;
$$;
