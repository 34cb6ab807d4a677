-- Let a gate's time be up, if it is: it times out, or, with the action retry, goes on waiting for longer.
--
-- Returns the gate as it stands; twice is once, as the next deadline lies ahead by then. The waits of
-- retries are 5, 15, 45 … minutes. Locks: the job, the materialization, the gate.
CREATE FUNCTION signal_gate_time_out_v1(p_gate bigint)
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
    v_gate signal_gate_gates;
BEGIN
    v_gate := signal_gate_locked(p_gate);
    IF v_gate.status = 'waiting' AND v_gate.timeout_at <= clock_timestamp() THEN
        UPDATE signal_gate_gates g
        SET status = CASE WHEN again.is_left THEN 'waiting' ELSE 'timeout' END,
            timeout_retries = g.timeout_retries + again.is_left::integer,
            timeout_at = CASE WHEN again.is_left
                THEN clock_timestamp() + interval '5 minutes' * 3 ^ least(g.timeout_retries, 12)
                ELSE g.timeout_at
            END,
            ended_at = CASE WHEN again.is_left THEN NULL ELSE clock_timestamp() END
        FROM (
            SELECT v_gate.timeout_action = 'retry' AND v_gate.timeout_retries < v_gate.max_timeout_retries AS is_left
        ) again
        WHERE g.id = p_gate
        RETURNING g.* INTO v_gate;
    END IF;
    IF v_gate.id IS NOT NULL THEN
        RETURN NEXT signal_gate_read(v_gate);
    END IF;
END;
$$;

-- Close a gate that is open: its materialization goes on, and is cancelled. Returns the gate as it stands.
-- Locks: the job, the materialization, the gate.
CREATE FUNCTION signal_gate_cancel_v1(p_gate bigint)
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
    v_gate signal_gate_gates;
BEGIN
    v_gate := signal_gate_locked(p_gate);
    IF v_gate.status = 'waiting' THEN
        UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = clock_timestamp() WHERE g.id = p_gate
        RETURNING g.* INTO v_gate;
        PERFORM flowstone_wake_v1(v_gate.materialization_id, 'null');
    END IF;
    IF v_gate.id IS NOT NULL THEN
        RETURN NEXT signal_gate_read(v_gate);
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
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_gate signal_gate_gates;
BEGIN
    v_gate := signal_gate_locked(p_gate);
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
        RETURN NEXT signal_gate_read(v_gate);
    END IF;
END;
$$;
