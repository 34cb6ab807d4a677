-- Send the signals of many tokens at once, each with JSON text; arrays run in parallel.
--
-- p_fits: for each signal null, or a JSON object that says by asset whether the payload is what it takes.
--
-- Returns a row for each one that is accepted. What is not as simple (no gate is open, the payload does not
-- fit, a token comes twice, what waits has not begun to, somebody has a lock) it leaves alone, without
-- waiting: signal_gate_signal_v1 says of each what it is. So none of them holds up the others.
-- Locks, none of which is waited for: the jobs, the materializations, the gates.
CREATE FUNCTION signal_gate_signal_many_v1(p_tokens text[], p_payloads text[], p_senders text[], p_fits text[])
    RETURNS SETOF signal_gate_record
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_gates bigint[];
    v_places bigint[];
    v_woken bigint[];
BEGIN
    SELECT array_agg(held.id), array_agg(held.place), array_agg(held.materialization_id)
    INTO v_gates, v_places, v_woken
    FROM (
        SELECT g.id, sent.place, g.materialization_id
        FROM (
            SELECT DISTINCT ON (every.token) signal_gate_hash(every.token) AS hash, every.fits, every.place
            FROM unnest(p_tokens, p_fits) WITH ORDINALITY AS every(token, fits, place)
            ORDER BY every.token, every.place
        ) sent
        JOIN signal_gate_gates g ON g.token_hash = sent.hash AND g.is_current
        JOIN procrastinate_jobs j ON j.id = g.materialization_id
        JOIN flowstone_materializations m ON m.id = g.materialization_id
        WHERE g.status = 'waiting'
            AND m.status = 'waiting'
            AND j.status::text = 'todo'
            AND (
                g.timeout_at IS NULL
                OR g.timeout_at > clock_timestamp()
                OR g.timeout_action = 'retry' AND g.timeout_retries < g.max_timeout_retries
            )
            AND (sent.fits::json ->> g.asset) IS DISTINCT FROM 'false'
        ORDER BY g.materialization_id
        FOR UPDATE OF j, m, g SKIP LOCKED
    ) held;
    IF v_gates IS NULL THEN
        RETURN;
    END IF;
    UPDATE signal_gate_gates g
    SET status = 'signaled',
        signaled_at = v_now,
        ended_at = v_now,
        payload = coalesce(p_payloads[taken.place], 'null')::json,
        sender = p_senders[taken.place]::json,
        is_checked = (p_fits[taken.place]::json ->> g.asset) IS NOT DISTINCT FROM 'true'
    FROM unnest(v_gates, v_places) AS taken(id, place)
    WHERE g.id = taken.id;
    PERFORM flowstone_wake_waiting(v_woken, 'null');
    RETURN QUERY
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g, 'accepted') gate
    WHERE g.id = ANY (v_gates);
END;
$$;
