-- The rest of pruning, and the one step of it that Python calls; 88_prune_runs.sql has the rules.

-- One batch of values that were replaced before p_before, looking at runs with this status that ended
-- before it: each once, at its own values and at those that it has replaced. What is still needed then
-- goes with its run.
CREATE FUNCTION flowstone_prune_values(p_status flowstone_run_status, p_before timestamptz, p_limit integer)
    RETURNS TABLE (value_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_position flowstone_pruning := flowstone_pruning_position('values', p_status);
    v_rows record;
    v_candidates bigint[];
BEGIN
    SELECT
        count(*)::integer AS count, array_agg(e.run_id) AS runs, array_agg(e.ended_at) AS ended,
        array_agg(e.id) AS ids, array_agg(e.asset) AS assets, array_agg(e.partition) AS partitions
    INTO v_rows
    FROM flowstone_ended(p_status, v_position, p_before, p_limit) e;
    value_count := 0;
    is_done := v_rows.count < p_limit;
    IF v_rows.count > 0 THEN
        v_position.ended_at := v_rows.ended[v_rows.count];
        v_position.after_id := v_rows.runs[v_rows.count];
        v_position.asset := v_rows.assets[v_rows.count];
        v_position.partition := v_rows.partitions[v_rows.count];
        PERFORM flowstone_move_pruning_position(v_position);

        v_candidates := v_rows.ids || ARRAY(
            SELECT replaced.id
            FROM flowstone_materializations m
            CROSS JOIN LATERAL (
                SELECT before.id
                FROM flowstone_materializations before
                WHERE before.asset = m.asset
                    AND before.partition = m.partition
                    AND -before.id > -m.id
                    AND before.status = 'succeeded'
                ORDER BY -before.id
                LIMIT 1
            ) replaced
            WHERE m.id = ANY (v_rows.ids) AND m.status = 'succeeded'
        );
        v_candidates := flowstone_superseded(v_candidates, p_before);
        value_count := flowstone_forget_values(ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            LEFT JOIN flowstone_runs r ON r.id = m.run_id
            WHERE m.id = ANY (v_candidates) AND (r.id IS NULL OR r.finished_at < p_before)
        ));
    END IF;
    RETURN NEXT;
END;
$$;

-- One batch of the items that plugins have of runs with this status which ended before p_before: ten times
-- p_limit, as there are many and each is small. Each materialization is looked at until it has none left.
CREATE FUNCTION flowstone_prune_items(p_status flowstone_run_status, p_before timestamptz, p_limit integer)
    RETURNS TABLE (item_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_position flowstone_pruning;
    v_rows record;
    v_function text;
    v_count integer;
    v_room integer := 10 * p_limit;
BEGIN
    item_count := 0;
    is_done := NOT EXISTS (SELECT FROM flowstone_attached_tables a WHERE a.forget_items IS NOT NULL);
    IF is_done THEN
        RETURN NEXT;
        RETURN;
    END IF;
    v_position := flowstone_pruning_position('items', p_status);
    SELECT
        count(*)::integer AS count, array_agg(e.run_id) AS runs, array_agg(e.ended_at) AS ended,
        array_remove(array_agg(e.id), NULL) AS ids, array_agg(e.asset) AS assets, array_agg(e.partition) AS partitions
    INTO v_rows
    FROM flowstone_ended(p_status, v_position, p_before, p_limit) e;
    is_done := v_rows.count < p_limit;
    IF v_rows.count > 0 THEN
        FOR v_function IN
            SELECT a.forget_items FROM flowstone_attached_tables a WHERE a.forget_items IS NOT NULL ORDER BY a.name
        LOOP
            EXECUTE format('SELECT %I($1, $2)', v_function) INTO v_count USING v_rows.ids, v_room;
            item_count := item_count + v_count;
            v_room := v_room - v_count;
            IF v_room <= 0 THEN
                is_done := false;
                RETURN NEXT;
                RETURN;
            END IF;
        END LOOP;
        v_position.ended_at := v_rows.ended[v_rows.count];
        v_position.after_id := v_rows.runs[v_rows.count];
        v_position.asset := v_rows.assets[v_rows.count];
        v_position.partition := v_rows.partitions[v_rows.count];
        PERFORM flowstone_move_pruning_position(v_position);
    END IF;
    RETURN NEXT;
END;
$$;

-- One batch of what procrastinate wrote before p_before about jobs of ours that are still to do: one that
-- snoozes for a year leaves three events each time. Each event is looked at once. ('scheduled' says when
-- a job is due, not when that was written.)
CREATE FUNCTION flowstone_prune_events(p_before timestamptz, p_limit integer)
    RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    v_position flowstone_pruning := flowstone_pruning_position('events', 'running');
    v_count bigint;
    v_last bigint;
BEGIN
    WITH page AS MATERIALIZED (
        SELECT e.id, e.job_id, e.type, e.at
        FROM procrastinate_events e
        WHERE e.id > v_position.after_id
        ORDER BY e.id
        LIMIT p_limit
    ),
    old AS MATERIALIZED (
        SELECT page.id, page.job_id
        FROM page
        WHERE page.id < coalesce(
            (SELECT min(young.id) FROM page young WHERE young.type <> 'scheduled' AND young.at >= p_before),
            page.id + 1
        )
    ),
    gone AS (
        DELETE FROM procrastinate_events e
        USING old
        JOIN procrastinate_jobs j ON j.id = old.job_id
        WHERE e.id = old.id AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed') AND j.status IN ('todo', 'doing')
    )
    SELECT count(*), max(old.id) INTO v_count, v_last FROM old;
    IF v_count > 0 THEN
        v_position.after_id := v_last;
        PERFORM flowstone_move_pruning_position(v_position);
    END IF;
    RETURN v_count < p_limit;
END;
$$;

-- Delete one batch of what is kept no longer; call it until it says that it is done.
--
-- Periods count from the end of a run, or a job, or (p_values_ms) from when a value was replaced; null keeps
-- for ever; items go before their run at the latest. Those of jobs are arrays in parallel, by queue: the one that
-- is null stands for all the others.
CREATE FUNCTION flowstone_prune_v1(
    p_runs_ms bigint,
    p_failed_ms bigint,
    p_values_ms bigint,
    p_items_ms bigint,
    p_queues text[],
    p_jobs_ms bigint[],
    p_failed_jobs_ms bigint[],
    p_limit integer
)
    RETURNS TABLE (
        run_count bigint, materialization_count bigint, value_count bigint, job_count bigint,
        item_count bigint, is_done boolean
    )
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_status flowstone_run_status;
    v_age_ms bigint;
    v_part record;
    v_events_ms bigint := coalesce(p_runs_ms, (SELECT min(ms) FROM unnest(p_jobs_ms) ms));
BEGIN
    run_count := 0;
    materialization_count := 0;
    value_count := 0;
    job_count := 0;
    item_count := 0;
    is_done := true;
    FOREACH v_status IN ARRAY '{succeeded,cancelled,failed}'::flowstone_run_status[] LOOP
        v_age_ms := CASE WHEN v_status = 'failed' THEN p_failed_ms ELSE p_runs_ms END;
        IF is_done AND coalesce(v_age_ms, p_items_ms) IS NOT NULL THEN
            SELECT * INTO v_part
            FROM flowstone_prune_items(v_status, v_now - least(v_age_ms, p_items_ms) * interval '1 ms', p_limit);
            item_count := item_count + v_part.item_count;
            is_done := v_part.is_done;
        END IF;
        IF is_done AND v_age_ms IS NOT NULL THEN
            SELECT * INTO v_part
            FROM flowstone_prune_runs(v_status, v_now - v_age_ms * interval '1 ms', p_limit);
            run_count := run_count + v_part.run_count;
            materialization_count := materialization_count + v_part.materialization_count;
            value_count := value_count + v_part.value_count;
            is_done := v_part.is_done;
        END IF;
        IF is_done AND p_values_ms IS NOT NULL THEN
            SELECT * INTO v_part
            FROM flowstone_prune_values(v_status, v_now - p_values_ms * interval '1 ms', p_limit);
            value_count := value_count + v_part.value_count;
            is_done := v_part.is_done;
        END IF;
    END LOOP;
    IF is_done THEN
        SELECT * INTO v_part FROM flowstone_prune_jobs(p_queues, p_jobs_ms, p_failed_jobs_ms, v_now, p_limit);
        job_count := v_part.job_count;
        is_done := v_part.is_done;
    END IF;
    IF is_done AND v_events_ms IS NOT NULL THEN
        is_done := flowstone_prune_events(v_now - v_events_ms * interval '1 ms', p_limit);
    END IF;
    DELETE FROM flowstone_leases l WHERE l.held_until < v_now - interval '1 day';
    RETURN NEXT;
END;
$$;

-- How many runs would go by this policy now, by status.
CREATE FUNCTION flowstone_prunable_v1(p_runs_ms bigint, p_failed_ms bigint)
    RETURNS TABLE (status text, run_count bigint)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
AS $$
    SELECT ended.status::text, (
        SELECT count(*)
        FROM flowstone_runs r
        WHERE r.status = ended.status
            AND r.finished_at < clock_timestamp() - ended.age_ms * interval '1 ms'
    )
    FROM (
        VALUES
            ('succeeded'::flowstone_run_status, p_runs_ms), ('cancelled', p_runs_ms), ('failed', p_failed_ms)
    ) AS ended(status, age_ms);
$$;

-- How many rows that plugins have of items would go by this policy now, together with runs or before them.
CREATE FUNCTION flowstone_prunable_items_v1(p_runs_ms bigint, p_failed_ms bigint, p_items_ms bigint)
    RETURNS bigint
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_table text;
    v_rows bigint;
    v_count bigint := 0;
BEGIN
    FOR v_table IN SELECT a.name FROM flowstone_attached_tables a WHERE a.holds_items ORDER BY a.name LOOP
        EXECUTE format(
            $query$
            SELECT count(*)
            FROM flowstone_runs r
            JOIN flowstone_materializations m ON m.run_id = r.id
            JOIN %I a ON a.materialization_id = m.id
            WHERE r.status <> 'running'
                AND r.finished_at < clock_timestamp()
                    - least(CASE WHEN r.status = 'failed' THEN $2 ELSE $1 END, $3) * interval '1 ms'
            $query$,
            v_table
        ) INTO v_rows USING p_runs_ms, p_failed_ms, p_items_ms;
        v_count := v_count + v_rows;
    END LOOP;
    RETURN v_count;
END;
$$;
