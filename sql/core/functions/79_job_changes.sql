-- Jobs that somebody retries, cancels or deletes by hand, many at once.

-- Let these jobs, which are locked, be ready at once: those that have ended, anew, and those that are timed.
-- Returns how many there were.
--
-- An ended one keeps its id and its attempts, and its job's attempts have grown when it left its worker: so
-- the next claim has the next number. Its failed attempts stay; its result goes, as another one may come.
CREATE FUNCTION flowstone_retry_jobs(p_ids bigint[])
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_ended bigint[];
    v_timed bigint[];
BEGIN
    SELECT array_agg(r.id) FILTER (WHERE r.has_ended), array_agg(r.id) FILTER (WHERE NOT r.has_ended)
    INTO v_ended, v_timed
    FROM flowstone_retryable(p_ids) r;

    UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_timed);
    IF v_ended IS NOT NULL THEN
        UPDATE procrastinate_jobs j
        SET status = 'todo', scheduled_at = NULL, worker_id = NULL, abort_requested = false
        WHERE j.id = ANY (v_ended);
        DELETE FROM flowstone_values v WHERE v.materialization_id = ANY (v_ended);
        -- procrastinate's pruning may have deleted its own row.
        INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, attempts)
        SELECT
            m.id, m.queue, flowstone_task_of_job(m.limit_key, m.lane), m.priority,
            flowstone_args_of_job(m.asset, m.limit_key, m.lane), coalesce(m.claim + 1, 0)
        FROM flowstone_materializations m
        WHERE m.id = ANY (v_ended) AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = m.id);
        UPDATE flowstone_materializations m
        SET status = 'ready',
            worker_id = NULL,
            finished_at = NULL,
            error = CASE WHEN m.status = 'failed' THEN m.error END
        WHERE m.id = ANY (v_ended);
    END IF;
    PERFORM flowstone_notify_queues(v_ended || v_timed);
    RETURN coalesce(cardinality(v_ended), 0) + coalesce(cardinality(v_timed), 0);
END;
$$;

-- Which of these jobs can be retried: what has ended, and what waits for its time. Of what has ended and is
-- unique not what another one has the key of by now, and of several with one key the newest.
CREATE FUNCTION flowstone_retryable(p_ids bigint[])
    RETURNS TABLE (id bigint, has_ended boolean)
    LANGUAGE sql
AS $$
    SELECT able.id, able.has_ended
    FROM (
        SELECT
            m.id, m.finished_at IS NOT NULL AS has_ended, own.key,
            row_number() OVER (PARTITION BY own.key ORDER BY m.id DESC) AS place
        FROM flowstone_materializations m
        LEFT JOIN procrastinate_jobs j ON j.id = m.id
        CROSS JOIN LATERAL (
            SELECT CASE
                WHEN m.finished_at IS NOT NULL AND (m.unique_until <= clock_timestamp()) IS NOT TRUE
                    THEN m.unique_key
            END AS key
        ) own
        WHERE m.id = ANY (p_ids)
            AND NOT EXISTS (
                SELECT
                FROM flowstone_unique_keys k
                JOIN flowstone_materializations holder ON holder.id = k.materialization_id
                WHERE k.key = own.key
                    AND k.materialization_id <> m.id
                    AND (holder.unique_until <= clock_timestamp()) IS NOT TRUE
            )
            AND CASE
                -- One that is doing has been taken by a worker that is not ours.
                WHEN m.finished_at IS NOT NULL THEN j.status IS DISTINCT FROM 'doing'
                ELSE m.status = 'ready' AND j.status = 'todo' AND j.scheduled_at > clock_timestamp()
            END
    ) able
    WHERE able.key IS NULL OR able.place = 1;
$$;

-- Delete these jobs, which are locked, with all that belongs to them; whoever waits for one hears of it.
CREATE FUNCTION flowstone_delete_jobs(p_ids bigint[])
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_awaited bigint[];
    v_count bigint;
BEGIN
    DELETE FROM procrastinate_jobs j WHERE j.id = ANY (p_ids);
    DELETE FROM flowstone_errors e WHERE e.materialization_id = ANY (p_ids);
    DELETE FROM flowstone_values v WHERE v.materialization_id = ANY (p_ids);
    DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (p_ids);
    WITH gone AS (
        DELETE FROM flowstone_materializations m WHERE m.id = ANY (p_ids) RETURNING m.id, m.is_awaited
    )
    SELECT count(*), array_agg(gone.id) FILTER (WHERE gone.is_awaited) INTO v_count, v_awaited FROM gone;
    IF v_awaited IS NOT NULL THEN
        PERFORM flowstone_notify_jobs(v_awaited);
    END IF;
    RETURN v_count;
END;
$$;

-- Lock those of these jobs that are still meant, and return them.
--
-- Locks: jobs, materializations. With p_waits whoever holds one is waited for; otherwise it is left out.
CREATE FUNCTION flowstone_lock_selected(p_selection flowstone_job_selection, p_ids bigint[], p_waits boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_here bigint[] := ARRAY(SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (p_ids));
    v_free bigint[];
BEGIN
    IF p_waits THEN
        PERFORM FROM procrastinate_jobs j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR UPDATE;
        PERFORM FROM flowstone_materializations m WHERE m.id = ANY (p_ids) ORDER BY m.id FOR UPDATE;
        v_free := p_ids;
    ELSE
        v_free := ARRAY(
            SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR UPDATE SKIP LOCKED
        ) || ARRAY(SELECT unnest(p_ids) EXCEPT SELECT unnest(v_here));
        v_free := ARRAY(
            SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (v_free) ORDER BY m.id
            FOR UPDATE SKIP LOCKED
        );
    END IF;
    -- While this waited, or before it locked, one may have been claimed, settled, or retried by somebody else.
    p_selection.ids := v_free;
    RETURN s.ids FROM flowstone_select_jobs(p_selection, NULL, greatest(cardinality(v_free), 1)) s;
END;
$$;

-- Retry, cancel or delete jobs that are meant, newest first, below p_before, at most p_limit.
--
-- Returns how many it happened to (would happen, with p_dry_run), and where to go on, null at the end.
-- p_statuses: where a job may stand for this.
CREATE FUNCTION flowstone_change_jobs_v1(
    p_change text,
    p_ids bigint[], p_name text, p_queue text, p_statuses text[], p_older_ms bigint, p_newer_ms bigint,
    p_before bigint, p_limit integer, p_dry_run boolean
)
    RETURNS TABLE (changed_count bigint, next_before bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_selection flowstone_job_selection := (p_ids, p_name, p_queue, p_statuses, p_older_ms, p_newer_ms);
    v_ids bigint[];
BEGIN
    SELECT s.ids, s.next_before INTO v_ids, next_before
    FROM flowstone_select_jobs(v_selection, p_before, p_limit) s;

    IF p_dry_run THEN
        changed_count := CASE p_change
            WHEN 'retry' THEN (SELECT count(*) FROM flowstone_retryable(v_ids))
            ELSE cardinality(v_ids)
        END;
    ELSIF v_ids <> '{}' THEN
        PERFORM set_config('flowstone_job.is_own', 'yes', true);
        -- What is to be cancelled is never passed over: it may run for long.
        v_ids := flowstone_lock_selected(v_selection, v_ids, p_ids IS NOT NULL OR p_change = 'cancel');
        changed_count := CASE p_change
            WHEN 'retry' THEN flowstone_retry_jobs(v_ids)
            WHEN 'cancel' THEN flowstone_cancel_jobs_v1(v_ids)
            WHEN 'delete' THEN flowstone_delete_jobs(v_ids)
        END;
    ELSE
        changed_count := 0;
    END IF;
    RETURN NEXT;
END;
$$;
