-- What a planner needs to know: what these keys have stored, and ids for the materializations to come.
--
-- Returns one row per key that has a current value (ordinal: its position, from 1), and one row with
-- ordinal 0 that has p_reserve new ids in reserved. Runs in the caller's transaction.
CREATE FUNCTION flowstone_current_v1(p_assets text[], p_partitions text[], p_reserve integer)
    RETURNS TABLE (
        ordinal bigint,
        materialization_id bigint,
        io text,
        location text,
        version text,
        upstreams bigint[],
        materialized_at timestamptz,
        invalidated boolean,
        reserved bigint[]
    )
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_sequence regclass := pg_get_serial_sequence('procrastinate_jobs', 'id');
BEGIN
    RETURN QUERY
    SELECT
        k.ordinality, m.id, m.io, m.location::text, m.version, m.inputs || m.follows, m.finished_at,
        c.invalidated_at IS NOT NULL, NULL::bigint[]
    FROM unnest(p_assets, p_partitions) WITH ORDINALITY AS k(asset, partition)
    -- Key by key, whatever the tables were like when this was planned: a join may be planned to read them all.
    CROSS JOIN LATERAL (
        SELECT * FROM flowstone_current c WHERE c.asset = k.asset AND c.partition = k.partition OFFSET 0
    ) c
    CROSS JOIN LATERAL (
        SELECT * FROM flowstone_materializations m WHERE m.id = c.materialization_id OFFSET 0
    ) m;

    IF p_reserve > 0 THEN
        RETURN QUERY
        SELECT
            0::bigint, NULL::bigint, NULL, NULL, NULL, NULL::bigint[], NULL::timestamptz, NULL::boolean,
            ARRAY(
                SELECT nextval(v_sequence)
                FROM generate_series(1, p_reserve)
            );
    END IF;
END;
$$;

-- Write a planned run: its row, its materializations, and the jobs of those that are ready.
--
-- Arrays run in parallel, one entry per materialization; lists of ids are array literals, null for an empty one.
-- A queue, priority, reason or unmet that is the same for all may be given once, and of what a run does not use
-- the whole array is null. Runs in the caller's transaction. Returns the run's id, and false when p_dedupe found
-- an earlier run.
CREATE FUNCTION flowstone_create_run_v1(
    p_targets text,
    p_options text,
    p_dedupe text,
    p_at timestamptz,
    p_retry_of bigint,
    p_ids bigint[],
    p_assets text[],
    p_partitions text[],
    p_queues text[],
    p_priorities integer[],
    p_reasons text[],
    p_unmet integer[],
    p_inputs text[],
    p_follows text[],
    p_dependents text[],
    p_optional_dependents text[],
    p_awaits text[],
    p_awaited_by text[],
    p_starts text[],
    p_tolerated boolean[],
    p_reused bigint[],
    p_reused_reasons text[]
)
    RETURNS TABLE (run_id bigint, created boolean)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_run bigint;
    v_now timestamptz := clock_timestamp();
    v_is_open boolean := cardinality(p_ids) > 0;
    v_queue text := p_queues[1];
    v_priority integer := p_priorities[1];
    v_reason text := p_reasons[1];
    v_unmet integer := p_unmet[1];
BEGIN
    LOOP
        INSERT INTO flowstone_runs
            (status, open_count, targets, options, dedupe, retry_of, created_at, finished_at)
        VALUES (
            CASE WHEN v_is_open THEN 'running'::flowstone_run_status ELSE 'succeeded' END,
            cardinality(p_ids), p_targets::json, p_options::json, p_dedupe, p_retry_of, v_now,
            CASE WHEN NOT v_is_open THEN v_now END
        )
        ON CONFLICT (dedupe) WHERE dedupe IS NOT NULL DO NOTHING
        RETURNING id INTO v_run;
        EXIT WHEN v_run IS NOT NULL;

        RETURN QUERY SELECT r.id, false FROM flowstone_runs r WHERE r.dedupe = p_dedupe;
        IF FOUND THEN
            RETURN;
        END IF;
        -- The earlier run was pruned between the two statements.
    END LOOP;

    INSERT INTO flowstone_materializations (
        id, run_id, asset, partition, queue, priority, status, unmet, inputs, follows, dependents,
        optional_dependents, awaits, awaited_by, starts, is_tolerated, reason
    )
    SELECT
        s.id, v_run, s.asset, s.partition, coalesce(s.queue, v_queue), coalesce(s.priority, v_priority),
        CASE WHEN coalesce(s.unmet, v_unmet) = 0 THEN 'ready'::flowstone_status ELSE 'pending' END,
        coalesce(s.unmet, v_unmet), coalesce(s.inputs::bigint[], '{}'), coalesce(s.follows::bigint[], '{}'),
        coalesce(s.dependents::bigint[], '{}'), coalesce(s.optional_dependents::bigint[], '{}'),
        s.awaits::bigint[], s.awaited_by::bigint[], s.starts::bigint[],
        coalesce(s.is_tolerated, false), coalesce(s.reason, v_reason)
    FROM unnest(
        p_ids, p_assets, p_partitions, p_queues, p_priorities, p_reasons, p_unmet, p_inputs, p_follows,
        p_dependents, p_optional_dependents, p_awaits, p_awaited_by, p_starts, p_tolerated
    ) AS s(
        id, asset, partition, queue, priority, reason, unmet, inputs, follows, dependents, optional_dependents,
        awaits, awaited_by, starts, is_tolerated
    );

    INSERT INTO flowstone_reused (run_id, materialization_id, reason)
    SELECT v_run, reused.id, reused.reason
    FROM unnest(p_reused, p_reused_reasons) AS reused(id, reason);

    INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, scheduled_at)
    SELECT
        s.id, coalesce(s.queue, v_queue), 'flowstone:materialize', coalesce(s.priority, v_priority),
        jsonb_build_object('run_id', v_run, 'asset', s.asset, 'partition', s.partition), p_at
    FROM unnest(p_ids, p_assets, p_partitions, p_queues, p_priorities, p_unmet)
        AS s(id, asset, partition, queue, priority, unmet)
    WHERE coalesce(s.unmet, v_unmet) = 0;

    RETURN QUERY SELECT v_run, true;
END;
$$;

-- Declare current values stale, and return how many were not so before.
--
-- With p_downstream also every current value made from them, however far; each
-- materialization on the way is visited once. p_io: only values which that IO manager holds ('' is the store itself). Locks: current.
CREATE FUNCTION flowstone_invalidate_v1(
    p_assets text[], p_partitions text[], p_downstream boolean, p_io text
)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_stale bigint[];
    v_count bigint;
BEGIN
    WITH RECURSIVE stale AS (
        SELECT c.materialization_id
        FROM unnest(p_assets, p_partitions) AS k(asset, partition)
        JOIN flowstone_current c ON c.asset = k.asset AND c.partition = k.partition
        JOIN flowstone_materializations m ON m.id = c.materialization_id
        WHERE p_io IS NULL OR coalesce(m.io, '') = p_io
        UNION
        SELECT l.materialization_id
        FROM stale
        JOIN flowstone_lineage l ON l.upstream_id = stale.materialization_id
        WHERE p_downstream
    )
    SELECT array_agg(stale.materialization_id) INTO v_stale FROM stale;

    -- By an array, not by a join: nobody knows how many rows a recursion finds, and the planner's guess
    -- was a reason to read all pointers.
    PERFORM
    FROM flowstone_current c
    WHERE c.materialization_id = ANY (v_stale) AND c.invalidated_at IS NULL
    ORDER BY c.asset, c.partition
    FOR UPDATE;
    UPDATE flowstone_current c
    SET invalidated_at = clock_timestamp()
    WHERE c.materialization_id = ANY (v_stale) AND c.invalidated_at IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
