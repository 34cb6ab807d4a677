-- Bring materializations in line with jobs that something other than FlowStone has moved.
--
-- Returns one row for each materialization that it moved, with the outcome:
--   put_back   A worker that is not ours took its job, and gave it up or died: the job is to do again.
--   retried    Its job was given back to the queue while our worker ran it: that claim is void.
--   cancelled, failed
--              Its job was cancelled, deleted or finished by hand; what depends on it ends with it.
-- A materialization that has ended stays as it is: see "malformed" in 60_turn.sql.
--
-- Locks: jobs, materializations, runs, interventions. Of these jobs and materializations it leaves alone what somebody
-- holds; what depends on them it waits for, and for a unique key that a job takes on its way back.
--
-- p_noted: jobs of these notes; p_abandoned: jobs that are 'doing' in nobody's hands.
CREATE FUNCTION flowstone_reconcile(p_notes bigint[], p_noted bigint[], p_abandoned bigint[])
    RETURNS TABLE (
        outcome text,
        materialization_id bigint,
        run_id bigint,
        asset text,
        partition text,
        queue text,
        message text
    )
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_free bigint[];
    v_ids bigint[];
    v_outcomes text[];
    v_messages text[];
    v_ended bigint[];
    v_void boolean;
BEGIN
    PERFORM set_config('flowstone_job.is_own', 'yes', true);

    v_free := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (p_noted || p_abandoned) ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    ) || ARRAY(
        SELECT gone.id FROM unnest(p_noted) gone(id)
        WHERE NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = gone.id)
    );
    v_ids := ARRAY(
        SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (v_free) ORDER BY m.id
        FOR UPDATE SKIP LOCKED
    );
    v_free := ARRAY(
        SELECT f.id FROM unnest(v_free) f(id)
        WHERE f.id = ANY (v_ids)
            OR NOT EXISTS (SELECT FROM flowstone_materializations m WHERE m.id = f.id)
    );

    -- A claim is the job's attempts at that time, and they grow when it leaves a worker: more than one
    -- above the last claim, and somebody else has had the job in between.
    SELECT array_agg(fate.id), array_agg(fate.outcome), array_agg(fate.message)
    INTO v_ids, v_outcomes, v_messages
    FROM (
        SELECT
            f.id,
            CASE
                WHEN m.status IS NULL OR m.status NOT IN ('ready', 'waiting', 'running')
                    THEN CASE WHEN j.status = 'doing' THEN 'over' END
                WHEN j.id IS NULL AND n.was = 'doing' AND m.status <> 'running' THEN 'put_back'
                WHEN j.id IS NULL THEN 'cancelled'
                WHEN j.status = 'todo' THEN CASE WHEN m.status = 'running' THEN 'retried' END
                WHEN j.status = 'doing' THEN CASE WHEN j.abort_requested THEN 'cancelled' ELSE 'put_back' END
                WHEN j.status <> 'cancelled' AND j.attempts > coalesce(m.claim + 1, 0) THEN 'put_back'
                WHEN j.status = 'failed' AND NOT j.abort_requested THEN 'failed'
                ELSE 'cancelled'
            END AS outcome,
            concat_ws(
                ' ',
                'its job was',
                CASE
                    WHEN j.id IS NULL THEN 'deleted'
                    WHEN j.status = 'todo' THEN 'retried'
                    WHEN j.status = 'doing' THEN 'taken, by a worker that has died,'
                    WHEN j.status = 'cancelled' THEN 'cancelled'
                    ELSE 'finished as ' || j.status
                END,
                'from outside FlowStone',
                'by role ' || n.by_role,
                '(' || nullif(n.by_application, '') || ')'
            ) AS message
        FROM unnest(v_free) f(id)
        LEFT JOIN procrastinate_jobs j ON j.id = f.id
        LEFT JOIN flowstone_materializations m ON m.id = f.id
        LEFT JOIN LATERAL (
            SELECT i.was, i.by_role, i.by_application
            FROM flowstone_interventions i
            WHERE i.id = ANY (p_notes) AND i.job_id = f.id
            ORDER BY i.id DESC
            LIMIT 1
        ) n ON true
        -- Of the jobs that are doing, only the abandoned ones are anybody's business.
        WHERE j.status IS DISTINCT FROM 'doing' OR f.id = ANY (p_abandoned)
        ORDER BY f.id
    ) fate
    WHERE fate.outcome IS NOT NULL;

    WITH fate AS MATERIALIZED (
        SELECT * FROM unnest(v_ids, v_outcomes) AS f(id, outcome)
    )
    UPDATE procrastinate_jobs j
    SET status = CASE fate.outcome
            WHEN 'over' THEN 'failed'::procrastinate_job_status
            WHEN 'cancelled' THEN 'aborted'
            ELSE 'todo'
        END,
        attempts = j.attempts + (j.status = 'doing')::integer,
        worker_id = NULL,
        abort_requested = false
    FROM fate
    WHERE j.id = fate.id
        AND (fate.outcome IN ('put_back', 'over') OR fate.outcome = 'cancelled' AND j.status = 'doing');

    -- procrastinate's retry can give a job a lock, which would make it wait, or a claim of it fail.
    UPDATE procrastinate_jobs j SET lock = NULL
    WHERE j.id = ANY (v_free) AND j.status = 'todo' AND j.lock IS NOT NULL;

    -- A worker of procrastinate that deletes what it has finished leaves nothing to put back.
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, attempts, scheduled_at)
    SELECT
        m.id, m.queue, flowstone_task_of_job(m.limit_key, m.lane), m.priority,
        CASE WHEN m.run_id IS NULL
            THEN flowstone_args_of_job(m.asset, m.limit_key, m.lane)
            ELSE jsonb_build_object('run_id', m.run_id, 'asset', m.asset, 'partition', m.partition)
        END,
        coalesce(m.claim + 1, 0),
        CASE WHEN m.status = 'waiting' THEN w.deadline_at END
    FROM unnest(v_ids, v_outcomes) AS f(id, outcome)
    JOIN flowstone_materializations m ON m.id = f.id
    LEFT JOIN flowstone_waits w ON w.materialization_id = m.id
    WHERE f.outcome = 'put_back' AND NOT EXISTS (SELECT FROM procrastinate_jobs j WHERE j.id = f.id);

    SELECT coalesce(bool_or(m.status = 'running'), false) INTO v_void
    FROM flowstone_materializations m
    WHERE m.id = ANY (v_ids);
    WITH moved AS (
        UPDATE flowstone_materializations m
        SET status = CASE
                WHEN f.outcome IN ('cancelled', 'failed') THEN f.outcome::flowstone_status
                WHEN m.status = 'running' THEN 'ready'
                ELSE m.status
            END,
            worker_id = NULL,
            claim = CASE WHEN f.outcome IN ('cancelled', 'failed') THEN m.claim ELSE j.attempts - 1 END,
            finished_at = CASE WHEN f.outcome IN ('cancelled', 'failed') THEN clock_timestamp() END,
            error = CASE
                WHEN f.outcome IN ('cancelled', 'failed')
                    THEN json_build_object('code', 'ended_from_outside', 'message', f.message)
                ELSE m.error
            END
        FROM unnest(v_ids, v_outcomes, v_messages) AS f(id, outcome, message)
        LEFT JOIN procrastinate_jobs j ON j.id = f.id
        WHERE m.id = f.id AND f.outcome <> 'over'
        RETURNING m.id, m.status
    )
    SELECT array_agg(moved.id) INTO v_ended FROM moved WHERE moved.status IN ('cancelled', 'failed');

    IF v_ended IS NOT NULL THEN
        v_ended := v_ended || flowstone_cascade(v_ended);
        PERFORM flowstone_tell_awaiting(v_ended);
        PERFORM flowstone_count_ended(v_ended);
        DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_ended);
    END IF;

    DELETE FROM flowstone_interventions i WHERE i.id = ANY (p_notes) AND i.job_id = ANY (v_free);
    IF v_void THEN
        -- Those whose claims are void now should hear of it.
        PERFORM pg_notify('flowstone#' || current_schema(), '{"intervention": true}');
    END IF;
    RETURN QUERY
    SELECT f.outcome, m.id, m.run_id, m.asset, m.partition, coalesce(j.queue_name::text, m.queue), f.message
    FROM unnest(v_ids, v_outcomes, v_messages) AS f(id, outcome, message)
    JOIN flowstone_materializations m ON m.id = f.id
    LEFT JOIN procrastinate_jobs j ON j.id = f.id
    WHERE f.outcome <> 'over'
    ORDER BY m.id;

    -- Our own workers only: what is told on procrastinate's channel wakes whoever has just taken it.
    PERFORM pg_notify('flowstone#' || current_schema(), json_build_object('queue', due.queue_name)::text)
    FROM (
        SELECT DISTINCT j.queue_name
        FROM unnest(v_ids, v_outcomes) AS f(id, outcome)
        JOIN procrastinate_jobs j ON j.id = f.id
        WHERE f.outcome IN ('put_back', 'retried')
    ) due;
END;
$$;

-- The same for at most p_most of what was noted (sql/procrastinate/interventions.sql), and for the jobs that are 'doing':
-- two short lists, however much else there is.
--
-- What somebody's lock holds up for long is left for the next time, alone.
CREATE FUNCTION flowstone_reconcile_v1(p_most integer)
    RETURNS TABLE (
        outcome text,
        materialization_id bigint,
        run_id bigint,
        asset text,
        partition text,
        queue text,
        message text
    )
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '500ms'
AS $$
DECLARE
    v_notes bigint[];
    v_noted bigint[];
    v_abandoned bigint[];
    v_id bigint;
    v_held integer := 0;
BEGIN
    SELECT array_agg(n.id), array_agg(DISTINCT n.job_id) INTO v_notes, v_noted
    FROM (SELECT i.id, i.job_id FROM flowstone_interventions i ORDER BY i.id LIMIT p_most) n;
    SELECT array_agg(j.id) INTO v_abandoned
    FROM procrastinate_jobs j
    LEFT JOIN flowstone_materializations m ON m.id = j.id
    WHERE j.id = ANY (flowstone_doing())
        AND j.status = 'doing'
        AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed')
        AND (m.status = 'running' AND m.claim = j.attempts) IS NOT TRUE
        -- Workers of procrastinate beat every 10 s; it calls one dead after 30.
        AND NOT EXISTS (
            SELECT FROM procrastinate_workers pw
            WHERE pw.id = j.worker_id AND pw.last_heartbeat > clock_timestamp() - interval '30 s'
        );
    IF v_noted IS NULL AND v_abandoned IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        RETURN QUERY SELECT * FROM flowstone_reconcile(v_notes, v_noted, v_abandoned);
    EXCEPTION WHEN lock_not_available THEN
        PERFORM set_config('lock_timeout', '20ms', true);
        -- In no order: where much is held up, what is not has its chance the next time.
        FOR v_id IN
            SELECT job.id FROM unnest(v_noted || v_abandoned) job(id) GROUP BY job.id ORDER BY random()
        LOOP
            BEGIN
                RETURN QUERY
                SELECT * FROM flowstone_reconcile(
                    v_notes,
                    CASE WHEN v_id = ANY (v_noted) THEN ARRAY[v_id] END,
                    CASE WHEN v_id = ANY (v_abandoned) THEN ARRAY[v_id] END
                );
            EXCEPTION WHEN lock_not_available THEN
                v_held := v_held + 1;
                EXIT WHEN v_held = 100;
            END;
        END LOOP;
    END;

    -- There may be more.
    IF cardinality(v_notes) = p_most
        AND (SELECT count(*) FROM flowstone_interventions i WHERE i.id = ANY (v_notes)) < p_most
    THEN
        PERFORM pg_notify('flowstone#' || current_schema(), '{"intervention": true}');
    END IF;
END;
$$;
