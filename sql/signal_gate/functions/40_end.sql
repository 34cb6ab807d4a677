-- Let the time of gates be up, of which it is: they time out, or, with the action retry, go on waiting for longer.
--
-- Returns a row each, in the order asked, as the gate stands; twice is once, as the next deadline lies ahead by then.
-- The answer is 'found', 'absent', or 'busy' when somebody has one of the locks, and p_waits does not wait for that.
-- The waits of retries are 5, 15, 45 … minutes. Locks: the jobs, the materializations, the gates.
CREATE FUNCTION signal_gate_time_out_v1(p_gates bigint[], p_waits boolean)
    RETURNS SETOF signal_gate_record
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_locked bigint[] := signal_gate_lock(p_gates, p_waits);
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE signal_gate_gates g
    SET status = CASE WHEN due.goes_on THEN 'waiting' ELSE 'timeout' END,
        timeout_retries = g.timeout_retries + due.goes_on::integer,
        timeout_at = CASE WHEN due.goes_on
            THEN v_now + interval '5 minutes' * 3 ^ least(g.timeout_retries, 12)
            ELSE g.timeout_at
        END,
        ended_at = CASE WHEN NOT due.goes_on THEN v_now END
    FROM (
        SELECT d.id, d.timeout_action = 'retry' AND d.timeout_retries < d.max_timeout_retries AS goes_on
        FROM signal_gate_gates d
        WHERE d.id = ANY (v_locked) AND d.ended_at IS NULL AND d.timeout_at <= v_now
    ) due
    WHERE g.id = due.id;
    RETURN QUERY
    SELECT gate.*
    FROM unnest(p_gates) WITH ORDINALITY AS asked(id, place)
    LEFT JOIN signal_gate_gates g ON g.id = asked.id
    CROSS JOIN LATERAL signal_gate_read(
        g, CASE WHEN g.id IS NULL THEN 'absent' WHEN g.id = ANY (v_locked) THEN 'found' ELSE 'busy' END
    ) gate
    ORDER BY asked.place;
END;
$$;

-- Close a gate that is open: its materialization goes on, and is cancelled. Returns the gate as it stands.
-- Locks: the job, the materialization, the gate.
CREATE FUNCTION signal_gate_cancel_v1(p_gate bigint)
    RETURNS SETOF signal_gate_record
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_gate signal_gate_gates;
BEGIN
    PERFORM signal_gate_lock(ARRAY[p_gate], true);
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.id = p_gate;
    IF v_gate.status = 'waiting' THEN
        UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = clock_timestamp() WHERE g.id = p_gate
        RETURNING g.* INTO v_gate;
        PERFORM flowstone_wake(ARRAY[v_gate.materialization_id], 'null');
    END IF;
    IF v_gate.id IS NOT NULL THEN
        RETURN QUERY SELECT gate.* FROM signal_gate_read(v_gate) gate;
    END IF;
END;
$$;

-- Take back a signal that nobody had read, and that on_signal cannot be given: the gate is open as before.
--
-- Only for the claim that its materialization runs under. Locks: the job, the materialization, the gate.
CREATE FUNCTION signal_gate_reopen_v1(p_gate bigint, p_claim integer)
    RETURNS SETOF signal_gate_record
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_gate signal_gate_gates;
BEGIN
    PERFORM signal_gate_lock(ARRAY[p_gate], true);
    UPDATE signal_gate_gates g
    SET status = 'waiting', signaled_at = NULL, ended_at = NULL, payload = NULL, sender = NULL
    FROM flowstone_materializations m
    WHERE g.id = p_gate
        AND g.status = 'signaled'
        AND NOT g.is_checked
        AND m.id = g.materialization_id
        AND m.status = 'running'
        AND m.claim = p_claim
    RETURNING g.* INTO v_gate;
    IF FOUND THEN
        RETURN QUERY SELECT gate.* FROM signal_gate_read(v_gate) gate;
    END IF;
END;
$$;
