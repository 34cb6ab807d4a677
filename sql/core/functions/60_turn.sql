-- One turn of a worker: settle what finished, claim what is next. One call, one commit.
--
-- Returns one row per claim (kind 'claim'); one row of kind 'refused' per settlement that was refused; one
-- of kind 'malformed' per job in the queue that no materialization belongs to, or one that has ended (its
-- status is in partition, its run in run_id): it is failed here, so that it is seen once; when
-- nothing was claimed, one of kind 'due' whose id column has the milliseconds until the next timed job,
-- if there is one; and, when a limit holds back what is due, one of kind 'held' with the milliseconds
-- until it may let go of it.
--
-- Where one of its queues has settings (flowstone_queues) the pick goes by way of 55_queue_limits.sql.
--
-- in_values has the inputs that fit into an equal share of p_input_bytes; the worker loads what is null.
--
-- Plans are pinned: the tables may be empty when a plan is cached and full a second later, and every
-- access here has the index it wants. A lock that somebody holds for longer than lock_timeout undoes the
-- turn; the worker then tries its settlements apart.
CREATE FUNCTION flowstone_turn_v1(
    p_worker bigint,
    p_ids bigint[],
    p_claims integer[],
    p_events smallint[],
    p_values text[],
    p_ios text[],
    p_locations text[],
    p_versions text[],
    p_errors text[],
    p_delays bigint[],
    p_durations integer[],
    p_waits text[],
    p_queues text[],
    p_slots integer[],
    p_run bigint,
    p_input_bytes integer
)
    RETURNS TABLE (
        kind text,
        id bigint,
        claim integer,
        run_id bigint,
        asset text,
        partition text,
        attempt integer,
        options text,
        in_ids bigint[],
        in_assets text[],
        in_ios text[],
        in_locations text[],
        in_values text[],
        wake text,
        queue text,
        rescues integer,
        arguments text,
        assists bigint
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
    v_settled flowstone_settled;
    v_ready bigint[];
    v_picked bigint[] := '{}';
    v_taken bigint[];
    v_attempts integer[];
    v_queues text[];
    v_claimed bigint := 0;
    v_procrastinate_worker bigint;
    v_due bigint;
    v_has_settings boolean;
    v_locked text[];
    v_admitted flowstone_admitted;
    v_pick record;
    v_held bigint;
    v_quiet text;
BEGIN
    SELECT pw.id, EXISTS (SELECT FROM flowstone_queues q WHERE p_run IS NOT NULL OR q.name = ANY (p_queues))
    INTO v_procrastinate_worker, v_has_settings
    FROM flowstone_workers w
    LEFT JOIN procrastinate_workers pw ON pw.id = w.procrastinate_worker_id
    WHERE w.id = p_worker;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % was given up', p_worker
            USING ERRCODE = 'FS001', HINT = 'Its work was taken over; register again.';
    END IF;

    v_has_settings := v_has_settings AND cardinality(p_slots) > 0;

    IF cardinality(p_ids) > 0 THEN
        v_settled := flowstone_settle(
            p_worker, p_ids, p_claims, p_events, p_values, p_ios, p_locations, p_versions, p_errors,
            p_delays, p_durations, p_waits
        );
        IF v_settled.refused IS NOT NULL THEN
            RETURN QUERY
            SELECT
                'refused', r, NULL::integer, NULL::bigint, NULL, NULL, NULL::integer, NULL, NULL::bigint[],
                NULL::text[], NULL::text[], NULL::text[], NULL::text[], NULL, NULL, NULL::integer, NULL, NULL::bigint
            FROM unnest(v_settled.refused) r;
        END IF;
        v_ready := v_settled.made_ready;
        -- One alone may be the next that is to run. That is known once nothing else was picked.
        IF cardinality(v_ready) > 1 OR cardinality(v_ready) > 0 AND (v_has_settings OR cardinality(p_slots) = 0) THEN
            PERFORM flowstone_enqueue_ready(v_ready);
            v_ready := NULL;
        END IF;
    END IF;

    IF v_has_settings THEN
        v_locked := flowstone_lock_queues(p_queues, p_run);
        v_admitted := flowstone_admit(p_queues, p_slots, p_run, v_locked);
        SELECT * INTO v_pick FROM flowstone_pick_admitted(v_admitted, p_run, p_slots[1]);
        v_admitted := v_pick.p_admitted;
        v_picked := v_pick.picked;
    ELSIF cardinality(p_slots) > 0 THEN
        v_picked := flowstone_pick(p_queues, p_slots, p_run);
        IF v_ready IS NOT NULL THEN
            IF v_picked = '{}' THEN
                -- Nothing comes before it: it is started without being queued first. Its job is inserted as one
                -- that a worker has, with the events of one that was enqueued and claimed.
                v_quiet := set_config('flowstone_turn.is_quiet', 'all', true);
                RETURN QUERY
                WITH job AS (
                    INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args, status, worker_id)
                    SELECT
                        m.id, m.queue, 'flowstone:materialize', m.priority,
                        jsonb_build_object('run_id', m.run_id, 'asset', m.asset, 'partition', m.partition),
                        'doing', v_procrastinate_worker
                    FROM flowstone_materializations m
                    WHERE m.id = v_ready[1]
                        AND m.awaits IS NULL
                        AND CASE WHEN p_run IS NULL
                            THEN p_slots[array_position(p_queues, m.queue)] > 0
                            ELSE m.run_id = p_run
                        END
                    RETURNING id
                ),
                events AS (
                    INSERT INTO procrastinate_events (job_id, type, at)
                    SELECT job.id, step.type, now()
                    FROM job
                    CROSS JOIN unnest('{deferred,started}'::procrastinate_job_event_type[]) AS step(type)
                ),
                started AS (
                    UPDATE flowstone_materializations m
                    SET status = 'running',
                        claim = 0,
                        worker_id = p_worker,
                        attempt = m.attempt + 1,
                        started_at = clock_timestamp()
                    FROM job
                    WHERE m.id = job.id
                    RETURNING m.id, m.run_id, m.asset, m.partition, m.attempt, m.inputs, m.queue
                )
                SELECT
                    'claim', s.id, 0, s.run_id, s.asset, s.partition, s.attempt, r.options::text,
                    i.ids, i.assets, i.ios, i.locations, i.contents,
                    NULL, s.queue, 0, NULL, NULL::bigint
                FROM started s
                JOIN flowstone_runs r ON r.id = s.run_id
                LEFT JOIN LATERAL flowstone_inputs(s.inputs, p_input_bytes) i ON s.inputs <> '{}';
                GET DIAGNOSTICS v_claimed = ROW_COUNT;
                v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);
            END IF;
            IF v_claimed = 0 THEN
                PERFORM flowstone_enqueue_ready(v_ready);
                -- Once more: this one may come before others; or it is alone, and begins as those do that were queued.
                v_taken := v_picked;
                v_picked := flowstone_pick(p_queues, p_slots, p_run);
                IF NOT v_taken <@ v_picked THEN
                    -- One that has to stand back was locked until now: whoever looked meanwhile saw nothing.
                    PERFORM flowstone_notify_queues(v_taken);
                END IF;
            ELSE
                v_settled.made_ready := NULL;
            END IF;
        END IF;
    END IF;

    IF cardinality(v_picked) > 0 THEN
        v_quiet := set_config('flowstone_turn.is_quiet', 'all', true);
        WITH job AS (
            UPDATE procrastinate_jobs j
            SET status = 'doing', worker_id = v_procrastinate_worker
            FROM unnest(v_picked) WITH ORDINALITY AS picked(id, place)
            WHERE j.id = picked.id
            RETURNING j.id, j.attempts, j.queue_name, picked.place
        ),
        events AS (
            INSERT INTO procrastinate_events (job_id, type, at)
            SELECT job.id, 'started', now() FROM job WHERE flowstone_writes_events()
        )
        SELECT
            array_agg(job.id ORDER BY job.place), array_agg(job.attempts ORDER BY job.place),
            array_agg(job.queue_name ORDER BY job.place)
        INTO v_taken, v_attempts, v_queues
        FROM job;
        v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);

        RETURN QUERY
        WITH claimed AS (
            UPDATE flowstone_materializations m
            SET status = 'running',
                claim = job.attempts,
                worker_id = p_worker,
                attempt = m.attempt + 1,
                started_at = clock_timestamp(),
                finished_at = NULL,
                unique_status = CASE
                    WHEN m.unique_status IS NULL THEN NULL
                    WHEN m.unique_states & 2 <> 0 THEN 'running'::flowstone_status
                    ELSE 'pending'
                END,
                inputs = CASE WHEN m.awaits IS NULL THEN m.inputs
                    ELSE flowstone_with_arrived(m.inputs, m.awaits, true) END,
                follows = CASE WHEN m.awaits IS NULL THEN m.follows
                    ELSE flowstone_with_arrived(m.follows, m.awaits, false) END
            FROM unnest(v_taken, v_attempts, v_queues) WITH ORDINALITY AS job(id, attempts, queue_name, place)
            -- One that runs, and whose job is to do, was taken from its worker (procrastinate's retry_job).
            WHERE m.id = job.id AND m.status IN ('ready', 'waiting', 'running')
            RETURNING m.id, m.claim, m.run_id, m.asset, m.partition, m.attempt, m.inputs, m.has_wait,
                m.rescues, m.arguments, m.assists, job.queue_name, job.place
        )
        SELECT
            'claim', c.id, c.claim, c.run_id, c.asset, coalesce(assisted.partition, c.partition), c.attempt,
            r.options::text,
            i.ids, i.assets, i.ios, i.locations, i.contents,
            CASE WHEN w.waiting_on IS NOT NULL THEN
                json_build_object(
                    'on', w.waiting_on, 'state', w.state, 'payload', w.payload, 'timed_out', w.woken_at IS NULL
                )::text
            END,
            c.queue_name, c.rescues, c.arguments::text, c.assists
        FROM claimed c
        LEFT JOIN flowstone_runs r ON r.id = c.run_id
        LEFT JOIN flowstone_waits w ON c.has_wait AND w.materialization_id = c.id
        LEFT JOIN flowstone_materializations assisted ON assisted.id = c.assists
        LEFT JOIN LATERAL flowstone_inputs(c.inputs, p_input_bytes) i ON c.inputs <> '{}'
        ORDER BY c.place;
        GET DIAGNOSTICS v_claimed = ROW_COUNT;

        IF v_claimed < cardinality(v_picked) THEN
            RETURN QUERY
            WITH malformed AS (
                UPDATE procrastinate_jobs j
                SET status = 'failed', attempts = j.attempts + 1, worker_id = NULL, abort_requested = false
                WHERE j.id = ANY (v_picked)
                    AND j.status = 'doing'
                    AND NOT EXISTS (
                        SELECT FROM flowstone_materializations m
                        WHERE m.id = j.id AND m.status = 'running' AND m.worker_id = p_worker
                    )
                RETURNING j.id, j.args
            )
            SELECT
                'malformed', malformed.id, NULL::integer, m.run_id, malformed.args::text, m.status::text,
                NULL::integer, NULL, NULL::bigint[], NULL::text[], NULL::text[], NULL::text[], NULL::text[], NULL,
                NULL, NULL::integer, NULL, NULL::bigint
            FROM malformed
            LEFT JOIN flowstone_materializations m ON m.id = malformed.id;
        END IF;
    END IF;

    -- What this worker has no room for is for others.
    IF cardinality(v_settled.made_ready) > v_claimed OR NOT v_settled.made_ready <@ v_picked THEN
        PERFORM flowstone_notify_queues(v_settled.made_ready);
    END IF;
    IF v_claimed = 0 AND cardinality(p_slots) > 0 THEN
        v_due := flowstone_next_due(CASE WHEN v_has_settings THEN v_admitted.queues ELSE p_queues END, p_run);
        IF v_has_settings AND v_admitted.keyed <> '{}' THEN
            v_due := least(v_due, flowstone_next_keyed_due(v_admitted.keyed));
        END IF;
        -- A run's next one may be due already, in a queue that is closed.
        IF v_has_settings AND v_admitted.closed <> '{}' AND p_run IS NOT NULL THEN
            v_due := greatest(v_due, 1000);
        END IF;
        IF v_due IS NOT NULL THEN
            RETURN QUERY
            SELECT
                'due', v_due, NULL::integer, NULL::bigint, NULL, NULL, NULL::integer, NULL, NULL::bigint[],
                NULL::text[], NULL::text[], NULL::text[], NULL::text[], NULL, NULL, NULL::integer, NULL,
                NULL::bigint;
        END IF;
    END IF;
    IF v_has_settings THEN
        IF v_claimed > 0 AND v_locked <> '{}' THEN
            PERFORM flowstone_use_rates(v_taken, v_queues, v_locked);
        END IF;
        v_held := flowstone_next_admission(v_admitted);
        IF v_held IS NOT NULL THEN
            RETURN QUERY
            SELECT
                'held', v_held, NULL::integer, NULL::bigint, NULL, NULL, NULL::integer, NULL, NULL::bigint[],
                NULL::text[], NULL::text[], NULL::text[], NULL::text[], NULL, NULL, NULL::integer, NULL,
                NULL::bigint;
        END IF;
    END IF;
END;
$$;
