-- Record what materializations that settled as waiting wait for.
--
-- One that was woken while it still ran does not wait: it is ready at once; so is one whose wait has ended already.
CREATE FUNCTION flowstone_begin_waits(
    p_settled bigint[],
    p_ids bigint[],
    p_claims integer[],
    p_events smallint[],
    p_delays bigint[],
    p_waits text[]
)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_woken bigint[];
    v_awaiting bigint[];
BEGIN
    WITH wait AS (
        SELECT DISTINCT ON (s.id) s.id, s.delay_ms, s.wait::json AS wait
        FROM unnest(p_ids, p_claims, p_events, p_delays, p_waits) AS s(id, claim, event, delay_ms, wait)
        JOIN flowstone_materializations m ON m.id = s.id AND m.claim = s.claim
        WHERE s.event = 7 AND s.id = ANY (p_settled) AND m.status = 'waiting'
    ),
    begun AS (
        INSERT INTO flowstone_waits AS w
            (materialization_id, waiting_on, whom, state, is_external, waiting_since, deadline_at, all_ended, any_lost)
        SELECT
            wait.id,
            wait.wait ->> 'on',
            ARRAY(SELECT json_array_elements_text(wait.wait -> 'whom')),
            wait.wait -> 'state',
            (wait.wait ->> 'external')::boolean,
            v_now,
            v_now + wait.delay_ms * interval '1 ms',
            (wait.wait ->> 'all_ended')::bigint[],
            (wait.wait ->> 'any_lost')::bigint[]
        FROM wait
        ON CONFLICT (materialization_id) DO UPDATE
        SET waiting_on = excluded.waiting_on,
            whom = excluded.whom,
            state = excluded.state,
            is_external = excluded.is_external,
            waiting_since = excluded.waiting_since,
            deadline_at = excluded.deadline_at,
            all_ended = excluded.all_ended,
            any_lost = excluded.any_lost,
            -- What woke the wait before this one is spent; what came since then is not.
            woken_at = CASE WHEN w.early_at IS NOT NULL THEN v_now END,
            payload = w.early_payload,
            early_at = NULL,
            early_payload = NULL
        RETURNING w.materialization_id, w.woken_at, w.all_ended
    )
    SELECT
        array_agg(begun.materialization_id) FILTER (WHERE begun.woken_at IS NOT NULL),
        array_agg(begun.materialization_id) FILTER (WHERE begun.woken_at IS NULL AND begun.all_ended IS NOT NULL)
    INTO v_woken, v_awaiting
    FROM begun;
    IF v_awaiting IS NOT NULL THEN
        -- What it waits for may have ended while it ran.
        v_awaiting := flowstone_met(v_awaiting);
        UPDATE flowstone_waits w SET woken_at = v_now WHERE w.materialization_id = ANY (v_awaiting);
        v_woken := v_woken || v_awaiting;
    END IF;

    UPDATE flowstone_materializations m SET has_wait = true
    WHERE m.id = ANY (p_settled) AND m.status = 'waiting' AND NOT m.has_wait;

    IF v_woken IS NOT NULL THEN
        UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_woken);
        UPDATE flowstone_materializations m SET status = 'ready' WHERE m.id = ANY (v_woken);
    END IF;
END;
$$;

-- Say of some that run that something may be waited for on their behalf, before they wait.
--
-- A plugin that writes a row of its own for a wait that is still to come hears of the materialization's end
-- by a trigger on flowstone_waits (AFTER DELETE): from now on there is a row to be deleted, however it ends.
-- Locks: materializations; the caller holds their jobs.
CREATE FUNCTION flowstone_expect_waits(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE flowstone_materializations m SET has_wait = true WHERE m.id = ANY (p_ids) AND NOT m.has_wait;
    INSERT INTO flowstone_waits (materialization_id) SELECT unnest(p_ids) ON CONFLICT DO NOTHING;
END;
$$;

-- Lock materializations and their jobs, for who decides about their waits; returns which are locked.
--
-- p_waits: wait for those that somebody has; otherwise they are left out.
CREATE FUNCTION flowstone_lock_waits(p_ids bigint[], p_waits boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_jobs bigint[];
BEGIN
    IF p_waits THEN
        PERFORM FROM procrastinate_jobs j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR UPDATE;
        PERFORM FROM flowstone_materializations m WHERE m.id = ANY (p_ids) ORDER BY m.id FOR UPDATE;
        RETURN p_ids;
    END IF;
    v_jobs := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (p_ids) ORDER BY j.id FOR UPDATE SKIP LOCKED
    );
    RETURN ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        WHERE m.id = ANY (v_jobs)
        ORDER BY m.id
        FOR UPDATE SKIP LOCKED
    );
END;
$$;

-- Let materializations go on that wait; the caller has locked their jobs, and then them. Returns which it does.
--
-- p_payload: JSON text. A wake-up of one that is still running (or about to start again) is kept for the
-- wait that follows. One that has ended, or was woken before, is left as it is.
CREATE FUNCTION flowstone_wake(p_ids bigint[], p_payload text)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_woken bigint[];
    v_kept bigint[];
    v_runs bigint[];
BEGIN
    WITH woken AS (
        UPDATE flowstone_materializations m SET status = 'ready'
        WHERE m.id = ANY (p_ids) AND m.status = 'waiting'
        RETURNING m.id, m.run_id
    )
    SELECT array_agg(woken.id), array_agg(DISTINCT woken.run_id) INTO v_woken, v_runs FROM woken;
    IF v_woken IS NOT NULL THEN
        UPDATE flowstone_waits w SET woken_at = v_now, payload = p_payload::json
        WHERE w.materialization_id = ANY (v_woken);
        UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_woken) AND j.status::text = 'todo';
        PERFORM flowstone_notify_queues(v_woken);
        PERFORM flowstone_notify_runs(v_runs);
        IF cardinality(v_woken) = cardinality(p_ids) THEN
            RETURN v_woken;
        END IF;
    END IF;

    WITH kept AS (
        INSERT INTO flowstone_waits AS w (materialization_id, early_at, early_payload)
        SELECT m.id, v_now, p_payload::json
        FROM flowstone_materializations m
        WHERE m.id = ANY (p_ids) AND m.id <> ALL (coalesce(v_woken, '{}')) AND m.status IN ('ready', 'running')
        ON CONFLICT (materialization_id) DO UPDATE
        SET early_at = excluded.early_at, early_payload = excluded.early_payload
        -- One that is ready because it was woken, and has not started since, has its wake-up already.
        WHERE w.early_at IS NULL AND (
            w.woken_at IS NULL
            OR w.woken_at < (
                SELECT m.started_at FROM flowstone_materializations m WHERE m.id = excluded.materialization_id
            )
        )
        RETURNING w.materialization_id
    )
    SELECT array_agg(kept.materialization_id) INTO v_kept FROM kept;
    UPDATE flowstone_materializations m SET has_wait = true WHERE m.id = ANY (v_kept) AND NOT m.has_wait;
    RETURN coalesce(v_woken || v_kept, '{}');
END;
$$;

-- Let a waiting materialization go on; false when it has ended or was woken before; see flowstone_wake.
--
-- Locks: job, materialization.
CREATE FUNCTION flowstone_wake_v1(p_id bigint, p_payload text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM FROM procrastinate_jobs j WHERE j.id = p_id FOR UPDATE;
    PERFORM FROM flowstone_materializations m WHERE m.id = p_id FOR UPDATE;
    RETURN cardinality(flowstone_wake(ARRAY[p_id], p_payload)) > 0;
END;
$$;
