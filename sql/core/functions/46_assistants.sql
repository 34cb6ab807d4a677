-- Assistants: further claims of one materialization, for work that it shares out while it waits.
--
-- They are rows of its run, in a queue like any other, and so are found by whoever picks, of queues or of the
-- run alone. Each counts as open: the run does not end before they have.

-- Let the heads of a run (flowstone_heads_of_run) cover jobs that come later. Locks: the run.
CREATE FUNCTION flowstone_widen_heads(
    p_run bigint, p_queue text, p_priority integer, p_first bigint, p_last bigint
)
    RETURNS void
    LANGUAGE sql
AS $$
    UPDATE flowstone_runs r
    SET heads = (
        SELECT json_agg(head)
        FROM (
            SELECT h.queue, h.priority, min(h.first) AS first, max(h.last) AS last
            FROM (
                SELECT queue, priority, first, last
                FROM json_to_recordset(r.heads) AS h(queue text, priority integer, first bigint, last bigint)
                UNION ALL
                SELECT p_queue, p_priority, p_first, p_last
            ) h
            GROUP BY h.queue, h.priority
        ) head
    )
    WHERE r.id = p_run AND r.heads IS NOT NULL;
$$;

-- Add one assistant for each of p_arguments (JSON) to a materialization that has not ended; returns their ids,
-- none when it has, or when its run is to be cancelled.
--
-- p_queue, p_priority: null is what the materialization has. They get its inputs, and its partition when they
-- are claimed. Runs in the caller's transaction. Locks: the materialization, then its run.
CREATE FUNCTION flowstone_add_assistants_v1(
    p_materialization bigint, p_arguments text[], p_queue text, p_priority integer
)
    RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_it flowstone_materializations;
    v_ids bigint[];
BEGIN
    SELECT m.* INTO v_it FROM flowstone_materializations m
    WHERE m.id = p_materialization AND m.status IN ('ready', 'running', 'waiting')
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    UPDATE flowstone_runs r SET open_count = r.open_count + cardinality(p_arguments)
    WHERE r.id = v_it.run_id AND r.cancel_requested_at IS NULL;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;

    v_ids := ARRAY(
        SELECT nextval(pg_get_serial_sequence('procrastinate_jobs', 'id'))
        FROM generate_series(1, cardinality(p_arguments))
    );
    INSERT INTO flowstone_materializations (
        id, run_id, asset, partition, queue, priority, status, unmet, inputs, reason, arguments, assists
    )
    SELECT
        it.id, v_it.run_id, v_it.asset, chr(31) || it.id, coalesce(p_queue, v_it.queue),
        coalesce(p_priority, v_it.priority), 'ready', 0, v_it.inputs, 'assists', it.arguments::json, v_it.id
    FROM unnest(v_ids, p_arguments) AS it(id, arguments);
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args)
    SELECT
        it.id, coalesce(p_queue, v_it.queue), 'flowstone:materialize', coalesce(p_priority, v_it.priority),
        jsonb_build_object('run_id', v_it.run_id, 'asset', v_it.asset, 'partition', v_it.partition)
    FROM unnest(v_ids) AS it(id);
    PERFORM flowstone_widen_heads(
        v_it.run_id, coalesce(p_queue, v_it.queue), coalesce(p_priority, v_it.priority), v_ids[1],
        v_ids[cardinality(v_ids)]
    );
    PERFORM flowstone_notify_runs(ARRAY[v_it.run_id]);
    RETURN v_ids;
END;
$$;

-- Lock the jobs of the assistants of a materialization that nobody has claimed, with p_later only of those that are to
-- be claimed later; returns which. One that is being claimed is left out: it sees for itself how things stand.
CREATE FUNCTION flowstone_lock_assistants(p_materialization bigint, p_later boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.id = ANY (ARRAY(
                SELECT m.id FROM flowstone_materializations m
                WHERE m.assists = p_materialization AND m.status = 'ready'
            ))
            AND j.status::text = 'todo'
            AND (j.scheduled_at IS NOT NULL OR NOT p_later)
        ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    );
END;
$$;

-- End the assistants of a materialization that nobody has claimed; returns how many. Those that run end by
-- themselves. Runs in the caller's transaction. Locks: jobs, materializations, the run.
CREATE FUNCTION flowstone_dismiss_assistants_v1(p_materialization bigint)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    PERFORM set_config('flowstone_job.is_own', 'yes', true);
    v_ids := flowstone_lock_assistants(p_materialization, false);
    IF v_ids = '{}' THEN
        RETURN 0;
    END IF;
    UPDATE procrastinate_jobs j SET status = 'cancelled' WHERE j.id = ANY (v_ids);
    UPDATE flowstone_materializations m SET status = 'skipped', finished_at = clock_timestamp()
    WHERE m.id = ANY (v_ids) AND m.status = 'ready';
    PERFORM flowstone_count_ended(v_ids);
    RETURN cardinality(v_ids);
END;
$$;

-- Let the assistants of a materialization that were to be claimed later be claimed at once: there is more to do
-- than they have seen. Locks: their jobs.
CREATE FUNCTION flowstone_hasten_assistants(p_materialization bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_ids bigint[] := flowstone_lock_assistants(p_materialization, true);
BEGIN
    IF v_ids <> '{}' THEN
        UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_ids);
        PERFORM flowstone_notify_queues(v_ids);
        PERFORM flowstone_notify_runs(ARRAY(
            SELECT m.run_id FROM flowstone_materializations m WHERE m.id = p_materialization
        ));
    END IF;
END;
$$;

-- Whether something else waits in the queue of an assistant that runs, as urgent as it is.
CREATE FUNCTION flowstone_has_rivals(p_assistant bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    STABLE
AS $$
DECLARE
    v_queue text;
    v_priority integer;
    v_assists bigint;
    v_first bigint[];
BEGIN
    SELECT m.queue, m.priority, m.assists INTO v_queue, v_priority, v_assists
    FROM flowstone_materializations m WHERE m.id = p_assistant;
    v_first := ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.status = 'todo'
            AND j.task_name = 'flowstone:materialize'
            AND j.queue_name = v_queue
            AND j.scheduled_at IS NULL
            AND -j.priority::bigint <= -v_priority::bigint
        ORDER BY -j.priority::bigint, j.id
        LIMIT 4
    ) || ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.status = 'todo'
            AND j.task_name = 'flowstone:materialize'
            AND j.queue_name = v_queue
            AND j.scheduled_at <= clock_timestamp()
        ORDER BY j.scheduled_at, j.id
        LIMIT 4
    );
    RETURN EXISTS (
        SELECT FROM flowstone_materializations m
        WHERE m.id = ANY (v_first) AND m.assists IS DISTINCT FROM v_assists
    );
END;
$$;
