-- Send the signal of a token, with JSON text. Returns what became of it, and the gate if there is one.
--
--   accepted          It was the first; the materialization goes on.
--   repeated          The gate has this very payload already.
--   kept              No gate is open under the token yet; the one that opens takes it.
--   already_signaled  The gate, or what is kept, has another payload.
--   expired           The gate's time was up.
--   cancelled         Its materialization has ended, or somebody has closed the gate.
--   misfit            The gate's asset is among p_misfitting: its on_signal takes something else.
--
-- Of several at once one is accepted. Of assets that are not among p_fitting either nobody knows what they take. Payloads are compared as JSON, not as text.
-- Locks: the job, the materialization, the gate; of a token without a gate that token.
CREATE FUNCTION signal_gate_signal_v1(
    p_token text,
    p_payload text DEFAULT 'null',
    p_sender text DEFAULT NULL,
    p_fitting text[] DEFAULT '{}',
    p_misfitting text[] DEFAULT '{}'
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
    v_payload jsonb := coalesce(p_payload, 'null')::jsonb;
    v_kept jsonb;
    v_gate signal_gate_gates;
    v_found signal_gate_record;
    v_answer text;
    v_now timestamptz;
    v_status flowstone_status;
BEGIN
    SELECT g.id, g.materialization_id INTO v_gate.id, v_gate.materialization_id
    FROM signal_gate_gates g
    WHERE g.token_hash = v_hash AND g.is_current;
    IF v_gate.id IS NULL THEN
        -- Whoever opens a gate holds this lock until it is seen.
        PERFORM pg_advisory_xact_lock(hashtextextended(v_hash, 0));
        SELECT g.id, g.materialization_id INTO v_gate.id, v_gate.materialization_id
        FROM signal_gate_gates g
        WHERE g.token_hash = v_hash AND g.is_current;
    END IF;
    IF v_gate.id IS NULL THEN
        INSERT INTO signal_gate_early (token_hash, token, received_at, payload, sender)
        VALUES (v_hash, p_token, clock_timestamp(), coalesce(p_payload, 'null')::json, p_sender::json)
        ON CONFLICT (token_hash) DO NOTHING;
        SELECT e.payload::jsonb INTO v_kept FROM signal_gate_early e WHERE e.token_hash = v_hash;
        v_found.answer := CASE WHEN v_kept = v_payload THEN 'kept' ELSE 'already_signaled' END;
        RETURN NEXT v_found;
        RETURN;
    END IF;

    PERFORM FROM procrastinate_jobs j WHERE j.id = v_gate.materialization_id FOR UPDATE;
    SELECT m.status INTO v_status FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id FOR UPDATE;
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.id = v_gate.id FOR UPDATE;
    v_now := clock_timestamp();

    IF v_gate.status = 'waiting' AND (v_status IN ('ready', 'running', 'waiting')) IS NOT TRUE THEN
        UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = v_now WHERE g.id = v_gate.id
        RETURNING * INTO v_gate;
    END IF;
    IF v_gate.status = 'waiting'
        AND v_gate.timeout_at <= v_now
        -- One that goes on waiting is open in between too, however late its deadline is minded.
        AND NOT (v_gate.timeout_action = 'retry' AND v_gate.timeout_retries < v_gate.max_timeout_retries)
    THEN
        v_answer := 'expired';
    ELSIF v_gate.status = 'waiting' AND v_gate.asset = ANY (p_misfitting) THEN
        v_answer := 'misfit';
    ELSIF v_gate.status = 'waiting' THEN
        UPDATE signal_gate_gates g
        SET status = 'signaled',
            signaled_at = v_now,
            ended_at = v_now,
            payload = coalesce(p_payload, 'null')::json,
            sender = p_sender::json,
            is_checked = g.asset = ANY (p_fitting)
        WHERE g.id = v_gate.id
        RETURNING * INTO v_gate;
        PERFORM flowstone_wake_v1(v_gate.materialization_id, 'null');
        v_answer := 'accepted';
    ELSIF v_gate.status = 'signaled' THEN
        v_answer := CASE WHEN v_gate.payload::jsonb = v_payload THEN 'repeated' ELSE 'already_signaled' END;
    ELSE
        v_answer := CASE v_gate.status WHEN 'timeout' THEN 'expired' ELSE 'cancelled' END;
    END IF;
    RETURN NEXT signal_gate_read(v_gate, v_answer);
END;
$$;
