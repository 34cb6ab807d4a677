-- Open a gate for a materialization that runs under a claim.
--
-- Returns the gate: of a repeat the one that is there already, and signaled at once if its signal came
-- early. No row: the claim is no longer the materialization's. A token that belongs to another open gate, or
-- that this materialization has gone on with, is refused (FS100, DETAIL is that gate's id). Another open
-- gate of the same materialization is cancelled: the attempt that opened it was lost.
-- Locks: the token, the job, the materialization, its gates and the token's.
CREATE FUNCTION signal_gate_create_v1(
    p_materialization bigint,
    p_claim integer,
    p_attempt integer,
    p_token text,
    p_timeout_ms bigint,
    p_action text,
    p_max_retries integer,
    p_metadata text
)
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
    v_hash text := signal_gate_hash(p_token);
    v_now timestamptz;
    v_row flowstone_materializations;
    v_gate signal_gate_gates;
    v_other_status flowstone_status;
    v_early signal_gate_early;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(v_hash, 0));
    PERFORM FROM procrastinate_jobs j WHERE j.id = p_materialization FOR UPDATE;
    SELECT * INTO v_row FROM flowstone_materializations m WHERE m.id = p_materialization FOR UPDATE;
    IF v_row.id IS NULL OR v_row.status <> 'running' OR v_row.claim <> p_claim THEN
        RETURN;
    END IF;
    PERFORM FROM signal_gate_gates g
    WHERE g.materialization_id = p_materialization OR g.token_hash = v_hash AND g.is_current
    ORDER BY g.id
    FOR UPDATE;

    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.token_hash = v_hash AND g.is_current;
    IF v_gate.materialization_id = p_materialization AND (
        v_gate.status = 'waiting'
        -- Signaled before it was waited for: this is a repeat of what opened it, whose answer was lost.
        OR v_gate.status = 'signaled' AND EXISTS (
            SELECT FROM flowstone_waits w WHERE w.materialization_id = p_materialization AND w.early_at IS NOT NULL
        )
    )
    THEN
        RETURN NEXT signal_gate_read(v_gate);
        RETURN;
    END IF;
    IF v_gate.status = 'waiting' THEN
        SELECT m.status INTO v_other_status FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id;
    END IF;
    IF v_gate.materialization_id = p_materialization AND v_gate.status = 'signaled'
        OR v_other_status IN ('ready', 'running', 'waiting')
    THEN
        RAISE EXCEPTION 'the token is taken' USING ERRCODE = 'FS100', DETAIL = v_gate.id;
    END IF;

    v_now := clock_timestamp();
    UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = v_now
    WHERE (g.materialization_id = p_materialization OR g.id = v_gate.id) AND g.status = 'waiting';
    UPDATE signal_gate_gates g SET is_current = false WHERE g.id = v_gate.id;

    DELETE FROM signal_gate_early e WHERE e.token_hash = v_hash RETURNING * INTO v_early;
    INSERT INTO signal_gate_gates (
        materialization_id, run_id, asset, partition, attempt, token, token_hash, status, opened_at, timeout_at,
        timeout_action, max_timeout_retries, metadata, signaled_at, payload, sender, ended_at
    )
    VALUES (
        p_materialization, v_row.run_id, v_row.asset, v_row.partition, p_attempt, p_token, v_hash,
        CASE WHEN v_early.token_hash IS NULL THEN 'waiting' ELSE 'signaled' END, v_now,
        v_now + p_timeout_ms * interval '1 ms', p_action, p_max_retries, p_metadata::json,
        v_early.received_at, v_early.payload, v_early.sender,
        CASE WHEN v_early.token_hash IS NOT NULL THEN v_now END
    )
    RETURNING * INTO v_gate;

    IF v_early.token_hash IS NULL THEN
        PERFORM flowstone_expect_waits(ARRAY[p_materialization]);
    ELSE
        PERFORM flowstone_wake_v1(p_materialization, 'null');
    END IF;
    RETURN NEXT signal_gate_read(v_gate);
END;
$$;
