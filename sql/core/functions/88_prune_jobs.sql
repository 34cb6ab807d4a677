-- Ended jobs go when they are kept no longer, by how they ended and by their queue.
--
-- They are found by procrastinate's events, whose ids are in the order of time: each walk, one for each
-- period, looks at each event once. (An index on what changes when a job ends would take HOT updates from
-- every materialization.) What the walks cannot see a pass over everything finds, once a day: a job whose
-- row in procrastinate, and with it its events, somebody has deleted; one that was held by somebody, or
-- put back to work, at that moment; one that was brought in line long after its event.
--
-- Locks: flowstone_pruning, jobs (those that somebody else holds are left), materializations.

-- Forget these jobs, as far as they ended before p_before, and return how many there were.
CREATE FUNCTION flowstone_forget_jobs(p_ids bigint[], p_before timestamptz)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_ids bigint[];
    v_count bigint;
BEGIN
    IF p_ids IS NULL OR p_ids = '{}' THEN
        RETURN 0;
    END IF;
    v_ids := ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.id = ANY (p_ids) AND j.status NOT IN ('todo', 'doing')
        ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    ) || ARRAY(
        SELECT gone.id
        FROM unnest(p_ids) gone(id)
        WHERE NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = gone.id)
    );
    v_ids := ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        WHERE m.id = ANY (v_ids) AND m.run_id IS NULL AND m.finished_at < p_before
        ORDER BY m.id
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM procrastinate_jobs j WHERE j.id = ANY (v_ids);
    DELETE FROM flowstone_values v WHERE v.materialization_id = ANY (v_ids);
    DELETE FROM flowstone_errors e WHERE e.materialization_id = ANY (v_ids);
    DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_ids);
    DELETE FROM flowstone_materializations m WHERE m.id = ANY (v_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;

-- The periods of jobs, one row each, the periods of all queues without their own first (queue is null, and
-- except has those others). The arrays run in parallel; no period (null) keeps for ever, and has no row.
CREATE FUNCTION flowstone_job_periods(
    p_queues text[], p_jobs_ms bigint[], p_failed_ms bigint[], p_now timestamptz
)
    RETURNS TABLE (queue text, except_queues text[], is_failed boolean, before timestamptz)
    LANGUAGE sql
    STABLE
AS $$
    SELECT
        it.queue,
        CASE WHEN it.queue IS NULL THEN array_remove(p_queues, NULL) ELSE '{}' END,
        period.is_failed,
        p_now - period.ms * interval '1 ms'
    FROM unnest(p_queues, p_jobs_ms, p_failed_ms) AS it(queue, jobs_ms, failed_ms)
    CROSS JOIN LATERAL (VALUES (false, it.jobs_ms), (true, it.failed_ms)) AS period(is_failed, ms)
    WHERE period.ms IS NOT NULL
    ORDER BY it.queue NULLS FIRST, period.is_failed;
$$;

-- Whether such a period is that of a job.
CREATE FUNCTION flowstone_is_period_of(
    p_queue text, p_except text[], p_is_failed boolean, p_job flowstone_materializations
)
    RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT p_job.run_id IS NULL
        AND p_job.finished_at IS NOT NULL
        AND (p_job.status = 'failed') = p_is_failed
        AND (p_queue IS NULL OR p_job.queue = p_queue)
        AND p_job.queue <> ALL (p_except);
$$;

-- One batch of the jobs with this period, by their events.
--
-- A job ends a moment after the transaction began that its event has the time of. So the walk stops at the
-- first event that is too young, or whose job is: it comes back to that one. Only where the two lie more than
-- an hour apart (its worker was away when somebody else ended it) it goes on, and the daily pass has it.
CREATE FUNCTION flowstone_prune_ended_jobs(
    p_queue text, p_except text[], p_is_failed boolean, p_before timestamptz, p_limit integer
)
    RETURNS TABLE (job_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_position flowstone_pruning := flowstone_pruning_position(
        coalesce('jobs of ' || p_queue, 'jobs'),
        CASE WHEN p_is_failed THEN 'failed'::flowstone_run_status ELSE 'succeeded' END
    );
    v_count bigint;
    v_last bigint;
    v_ids bigint[];
BEGIN
    WITH page AS MATERIALIZED (
        SELECT e.id, e.job_id, e.type, e.at
        FROM procrastinate_events e
        WHERE e.id > v_position.after_id
        ORDER BY e.id
        LIMIT p_limit
    ),
    looked_at AS MATERIALIZED (
        SELECT
            page.id, m.id AS job_id,
            page.type <> 'scheduled' AND page.at >= p_before
                OR m.finished_at >= p_before AND page.at >= p_before - interval '1 hour' AS is_young
        FROM page
        LEFT JOIN flowstone_materializations m
            ON m.id = page.job_id
            AND page.type IN ('succeeded', 'failed', 'cancelled', 'aborted')
            AND flowstone_is_period_of(p_queue, p_except, p_is_failed, m)
    ),
    old AS (
        SELECT it.id, it.job_id
        FROM looked_at it
        WHERE it.id < coalesce((SELECT min(young.id) FROM looked_at young WHERE young.is_young), it.id + 1)
    )
    SELECT count(*), max(old.id), array_agg(DISTINCT old.job_id) FILTER (WHERE old.job_id IS NOT NULL)
    INTO v_count, v_last, v_ids
    FROM old;
    job_count := flowstone_forget_jobs(v_ids, p_before);
    IF v_count > 0 THEN
        v_position.after_id := v_last;
        PERFORM flowstone_move_pruning_position(v_position);
    END IF;
    is_done := v_count < p_limit;
    RETURN NEXT;
END;
$$;

-- One batch of the daily pass over everything, for what the walks have not seen.
--
-- Its position says when a pass began (ended_at), and where it stands: zero, when none is under way.
CREATE FUNCTION flowstone_sweep_jobs(
    p_queues text[], p_jobs_ms bigint[], p_failed_ms bigint[], p_now timestamptz, p_limit integer
)
    RETURNS TABLE (job_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_position flowstone_pruning := flowstone_pruning_position('jobs passed over', 'running');
    v_page bigint[];
    v_period record;
BEGIN
    job_count := 0;
    is_done := v_position.after_id = 0 AND v_position.ended_at > p_now - interval '1 day';
    IF NOT is_done THEN
        IF v_position.after_id = 0 THEN
            v_position.ended_at := p_now;
            -- Queues that no longer have a period of their own.
            DELETE FROM flowstone_pruning p
            WHERE p.what LIKE 'jobs of %'
                AND p.what <> ALL (ARRAY(SELECT 'jobs of ' || named FROM unnest(p_queues) named WHERE named <> ''));
        END IF;
        v_page := ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.id > v_position.after_id
            ORDER BY m.id
            LIMIT p_limit
        );
        FOR v_period IN SELECT * FROM flowstone_job_periods(p_queues, p_jobs_ms, p_failed_ms, p_now) LOOP
            job_count := job_count + flowstone_forget_jobs(
                ARRAY(
                    SELECT m.id
                    FROM flowstone_materializations m
                    WHERE m.id = ANY (v_page)
                        AND m.finished_at < v_period.before
                        AND flowstone_is_period_of(v_period.queue, v_period.except_queues, v_period.is_failed, m)
                ),
                v_period.before
            );
        END LOOP;
        is_done := cardinality(v_page) < p_limit;
        v_position.after_id := CASE WHEN is_done THEN 0 ELSE v_page[p_limit] END;
        PERFORM flowstone_move_pruning_position(v_position);
    END IF;
    RETURN NEXT;
END;
$$;

-- One batch of jobs, by all periods.
CREATE FUNCTION flowstone_prune_jobs(
    p_queues text[], p_jobs_ms bigint[], p_failed_ms bigint[], p_now timestamptz, p_limit integer
)
    RETURNS TABLE (job_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_period record;
    v_part record;
BEGIN
    job_count := 0;
    is_done := true;
    FOR v_period IN SELECT * FROM flowstone_job_periods(p_queues, p_jobs_ms, p_failed_ms, p_now) LOOP
        SELECT * INTO v_part
        FROM flowstone_prune_ended_jobs(
            v_period.queue, v_period.except_queues, v_period.is_failed, v_period.before, p_limit
        );
        job_count := job_count + v_part.job_count;
        is_done := v_part.is_done;
        EXIT WHEN NOT is_done;
    END LOOP;
    IF is_done AND cardinality(array_remove(p_jobs_ms || p_failed_ms, NULL)) > 0 THEN
        SELECT * INTO v_part FROM flowstone_sweep_jobs(p_queues, p_jobs_ms, p_failed_ms, p_now, p_limit);
        job_count := job_count + v_part.job_count;
        is_done := v_part.is_done;
    END IF;
    RETURN NEXT;
END;
$$;

-- How many jobs would go by this policy now. Reads everything: for people who ask.
CREATE FUNCTION flowstone_prunable_jobs_v1(p_queues text[], p_jobs_ms bigint[], p_failed_ms bigint[])
    RETURNS bigint
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT count(*)
    FROM flowstone_materializations m
    JOIN flowstone_job_periods(p_queues, p_jobs_ms, p_failed_ms, clock_timestamp()) period
        ON flowstone_is_period_of(period.queue, period.except_queues, period.is_failed, m)
    WHERE m.run_id IS NULL AND m.finished_at < period.before;
$$;
