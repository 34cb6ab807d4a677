-- What became of a batch: ids that were refused, and materializations that became ready by it. The latter
-- have no jobs yet: the caller starts them or enqueues them.
CREATE TYPE flowstone_settled AS (refused bigint[], made_ready bigint[]);

-- Give materializations that have just become ready their jobs. The caller notifies, of what it leaves to
-- others.
CREATE FUNCTION flowstone_enqueue_ready(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_quiet text := set_config('flowstone_turn.is_quiet', 'on', true);
BEGIN
    INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args)
    SELECT
        m.id, m.queue, 'flowstone:materialize', m.priority,
        jsonb_build_object('run_id', m.run_id, 'asset', m.asset, 'partition', m.partition)
    FROM flowstone_materializations m
    WHERE m.id = ANY (p_ids);
    v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);
END;
$$;

-- Settle a batch of claims.
--
-- Arrays run in parallel, sorted by id; one that a batch does not need may be null. Events are the
-- numbers of flowstone.core.status.Event:
--   1 succeeded  2 failed  3 skipped  4 cancelled  5 retried  6 snoozed  7 waited  8 handed back
-- p_delays: milliseconds; for 5, 6, 8 "not before", for 7 the deadline (null: none).
--
-- The fence is (job, worker, claim): a row that is no longer running under it is left alone, and all that
-- came with it (value, location, lineage, successors) with it. Everything else is one transaction.
-- Locks: jobs, materializations, runs, current.
CREATE FUNCTION flowstone_settle(
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
    p_waits text[]
)
    RETURNS flowstone_settled
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_result flowstone_settled;
    v_settled bigint[];
    v_ended bigint[];
    v_without_value bigint[];
    v_cascaded bigint[];
    v_back bigint[];
    v_waited bigint[];
    v_erred bigint[];
    v_awaited bigint[];
    v_told bigint[];
    v_begun bigint[];
    v_seen_to bigint[];
    v_only_run bigint;
    v_quiet text;
BEGIN
    IF cardinality(p_ids) = 1 AND p_events[1] = 1 THEN
        RETURN flowstone_settle_one(
            p_worker, p_ids[1], p_claims[1], p_values[1], p_ios[1], p_locations[1], p_versions[1], p_durations[1]
        );
    END IF;

    -- It writes the events of its jobs itself, see procrastinate/triggers.sql.
    v_quiet := set_config('flowstone_turn.is_quiet', 'all', true);
    WITH settlement AS (
        SELECT *
        FROM unnest(
            p_ids, p_claims, p_events, p_values, p_ios, p_locations, p_versions, p_errors, p_delays, p_durations
        ) AS s(id, claim, event, value, io, location, version, error, delay_ms, duration_ms)
    ),
    job AS (
        UPDATE procrastinate_jobs j
        SET attempts = j.attempts + 1,
            worker_id = NULL,
            abort_requested = false,
            status = CASE
                WHEN s.event IN (1, 3) THEN 'succeeded'::procrastinate_job_status
                WHEN s.event = 2 THEN 'failed'
                WHEN s.event = 4 OR j.abort_requested THEN 'aborted'
                ELSE 'todo'
            END,
            scheduled_at = CASE
                WHEN s.event <= 4 THEN j.scheduled_at
                -- A wait without a deadline is parked where no worker's clock will come; not
                -- 'infinity', which psycopg cannot read.
                WHEN s.event = 7
                    THEN coalesce(v_now + s.delay_ms * interval '1 ms', '9999-12-31 00:00:00+00')
                WHEN s.delay_ms > 0 THEN v_now + s.delay_ms * interval '1 ms'
            END
        FROM settlement s
        JOIN flowstone_materializations m ON m.id = s.id
        WHERE j.id = s.id
            AND s.event BETWEEN 1 AND 8
            AND j.status = 'doing'
            AND j.attempts = s.claim
            AND m.status = 'running'
            AND m.worker_id = p_worker
            AND m.claim = s.claim
        RETURNING
            j.id, j.status AS job_status, s.event, s.value, s.io, s.location, s.version, s.error, s.duration_ms,
            j.scheduled_at,
            CASE
                WHEN s.event = 1 THEN 'succeeded'::flowstone_status
                WHEN s.event = 2 THEN 'failed'
                WHEN s.event = 3 THEN 'skipped'
                WHEN j.status = 'aborted' THEN 'cancelled'
                WHEN s.event = 7 THEN 'waiting'
                ELSE 'ready'
            END AS status
    ),
    events AS (
        INSERT INTO procrastinate_events (job_id, type, at)
        SELECT
            job.id,
            CASE job.job_status WHEN 'todo' THEN 'deferred_for_retry' ELSE job.job_status::text END
                ::procrastinate_job_event_type,
            now()
        FROM job
        WHERE flowstone_writes_events()
        UNION ALL
        SELECT job.id, 'scheduled', job.scheduled_at
        FROM job
        WHERE flowstone_writes_events() AND job.job_status = 'todo' AND job.scheduled_at IS NOT NULL
    ),
    settled AS (
        UPDATE flowstone_materializations m
        SET status = job.status,
            unique_status = CASE
                WHEN m.unique_status IS NOT NULL
                    THEN flowstone_unique_status_of_end(m.unique_states, job.status)
            END,
            attempt = m.attempt - (job.job_status = 'todo' AND job.event IN (6, 7, 8))::integer,
            finished_at = CASE WHEN job.job_status <> 'todo' THEN v_now END,
            duration_ms = job.duration_ms,
            version = job.version,
            io = job.io,
            location = job.location::json,
            error = job.error::json
        FROM job
        WHERE m.id = job.id
        RETURNING
            m.id, m.run_id, m.asset, m.partition, m.status, m.has_wait, m.is_awaited, m.inputs,
            m.dependents, m.optional_dependents, m.starts, m.awaited_by, m.unique_status, job.value, job.event
    ),
    stored AS (
        INSERT INTO flowstone_values (materialization_id, size_bytes, value)
        SELECT s.id, octet_length(s.value), s.value::json
        FROM settled s
        WHERE s.status = 'succeeded' AND s.value IS NOT NULL
    ),
    pointed AS (
        -- Two runs may settle the same partition in one batch: the newer one is current.
        INSERT INTO flowstone_current AS c (asset, partition, materialization_id)
        SELECT DISTINCT ON (s.asset, s.partition) s.asset, s.partition, s.id
        FROM settled s
        WHERE s.status = 'succeeded' AND s.run_id IS NOT NULL
        ORDER BY s.asset, s.partition, s.id DESC
        ON CONFLICT (asset, partition) DO UPDATE
        SET materialization_id = excluded.materialization_id, invalidated_at = NULL
    ),
    traced AS (
        INSERT INTO flowstone_lineage (materialization_id, upstream_id)
        SELECT s.id, unnest(s.inputs)
        FROM settled s
        WHERE s.status = 'succeeded'
    ),
    met AS MATERIALIZED (
        SELECT edge.dependent, count(*) AS edges
        FROM settled s
        CROSS JOIN unnest(
            CASE WHEN s.status = 'succeeded' THEN s.dependents || s.optional_dependents || s.starts ELSE s.starts END
        ) AS edge(dependent)
        WHERE s.status = 'succeeded' OR s.status = 'waiting' AND s.starts IS NOT NULL
        GROUP BY edge.dependent
        ORDER BY edge.dependent
    ),
    released AS (
        UPDATE flowstone_materializations m
        SET unmet = m.unmet - met.edges,
            status = CASE WHEN m.unmet = met.edges THEN 'ready' ELSE m.status END
        FROM met
        WHERE m.id = met.dependent AND m.status = 'pending'
        RETURNING m.id, m.unmet
    )
    SELECT
        (SELECT array_agg(r.id) FROM released r WHERE r.unmet = 0),
        array_agg(s.id),
        array_agg(s.id) FILTER (WHERE s.status NOT IN ('ready', 'waiting') AND s.run_id IS NOT NULL),
        array_agg(s.id) FILTER (WHERE s.status IN ('failed', 'skipped', 'cancelled') AND s.run_id IS NOT NULL),
        array_agg(s.id) FILTER (WHERE s.status IN ('ready', 'waiting')),
        array_agg(s.id) FILTER (WHERE s.has_wait AND s.status NOT IN ('ready', 'waiting')),
        array_agg(s.id) FILTER (WHERE s.event IN (2, 5)),
        array_agg(s.id) FILTER (WHERE s.is_awaited AND s.status NOT IN ('ready', 'waiting')),
        array_agg(s.id) FILTER (WHERE s.awaited_by IS NOT NULL AND s.status NOT IN ('ready', 'waiting')),
        array_agg(s.id) FILTER (WHERE s.starts IS NOT NULL AND s.status = 'waiting'),
        array_agg(s.id) FILTER (WHERE s.unique_status = s.status),
        CASE WHEN min(s.run_id) = max(s.run_id) THEN min(s.run_id) END
    INTO
        v_result.made_ready, v_settled, v_ended, v_without_value, v_back, v_waited, v_erred, v_awaited,
        v_told, v_begun, v_seen_to, v_only_run
    FROM settled s;
    v_quiet := set_config('flowstone_turn.is_quiet', 'off', true);

    IF v_back IS NOT NULL THEN
        PERFORM flowstone_begin_waits(v_back, p_ids, p_claims, p_events, p_delays, p_waits);
    END IF;
    IF v_begun IS NOT NULL THEN
        UPDATE flowstone_materializations m SET starts = NULL WHERE m.id = ANY (v_begun);
    END IF;
    IF v_without_value IS NOT NULL THEN
        v_cascaded := flowstone_cascade(v_without_value);
        v_ended := v_ended || v_cascaded;
        v_told := v_told || v_cascaded;
    END IF;
    IF v_told <> '{}' THEN
        PERFORM flowstone_tell_awaiting(v_told);
    END IF;
    IF v_only_run IS NOT NULL AND v_without_value IS NULL AND v_ended IS NOT NULL THEN
        PERFORM flowstone_count_succeeded(v_only_run, cardinality(v_ended));
    ELSIF v_ended IS NOT NULL THEN
        PERFORM flowstone_count_ended(v_ended);
    END IF;
    IF v_seen_to IS NOT NULL THEN
        PERFORM flowstone_let_go_of_keys(v_seen_to);
    END IF;
    IF v_waited IS NOT NULL THEN
        DELETE FROM flowstone_waits w WHERE w.materialization_id = ANY (v_waited);
    END IF;
    IF v_erred IS NOT NULL THEN
        INSERT INTO flowstone_errors (materialization_id, claim, attempt, failed_at, error)
        SELECT s.id, s.claim, m.attempt, v_now, s.error::json
        FROM unnest(p_ids, p_claims, p_events, p_errors) AS s(id, claim, event, error)
        JOIN flowstone_materializations m ON m.id = s.id AND m.claim = s.claim
        WHERE s.id = ANY (v_erred) AND s.event IN (2, 5) AND s.error IS NOT NULL
        ON CONFLICT DO NOTHING;
    END IF;
    IF v_awaited IS NOT NULL THEN
        PERFORM flowstone_notify_jobs(v_awaited);
    END IF;
    IF v_back IS NOT NULL THEN
        PERFORM flowstone_notify_queues(v_back);
    END IF;

    IF cardinality(v_settled) < cardinality(p_ids) OR v_settled IS NULL THEN
        v_result.refused := ARRAY(SELECT unnest(p_ids) EXCEPT SELECT unnest(v_settled));
    END IF;
    RETURN v_result;
END;
$$;
