-- Take one signal; see signal_gate_signal_v1. The caller wakes what it was accepted for.
CREATE FUNCTION signal_gate_take(p_token text, p_payload text, p_sender text, p_fits json, p_waits boolean)
    RETURNS signal_gate_record
    LANGUAGE plpgsql
AS $$
DECLARE
    v_hash text := signal_gate_hash(p_token);
    v_payload jsonb := p_payload::jsonb;
    v_kept jsonb;
    v_gate signal_gate_gates;
    v_answer text;
    v_now timestamptz;
    v_status flowstone_status;
BEGIN
    SELECT g.id, g.materialization_id INTO v_gate.id, v_gate.materialization_id
    FROM signal_gate_gates g
    WHERE g.token_hash = v_hash AND g.is_current;
    IF v_gate.id IS NULL THEN
        -- Whoever opens a gate holds this lock until it is seen.
        IF NOT signal_gate_lock_token(v_hash, p_waits) THEN
            RETURN (SELECT gate FROM signal_gate_read(NULL, 'busy') gate);
        END IF;
        SELECT g.id, g.materialization_id INTO v_gate.id, v_gate.materialization_id
        FROM signal_gate_gates g
        WHERE g.token_hash = v_hash AND g.is_current;
    END IF;
    IF v_gate.id IS NULL THEN
        INSERT INTO signal_gate_early (token_hash, token, received_at, payload, sender)
        VALUES (v_hash, p_token, clock_timestamp(), p_payload::json, p_sender::json)
        ON CONFLICT (token_hash) DO NOTHING;
        SELECT e.payload::jsonb INTO v_kept FROM signal_gate_early e WHERE e.token_hash = v_hash;
        v_answer := CASE WHEN v_kept = v_payload THEN 'kept' ELSE 'already_signaled' END;
        RETURN (SELECT gate FROM signal_gate_read(NULL, v_answer) gate);
    END IF;

    IF signal_gate_lock(ARRAY[v_gate.id], p_waits) = '{}' THEN
        RETURN (SELECT gate FROM signal_gate_read(NULL, 'busy') gate);
    END IF;
    SELECT m.status INTO v_status FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id;
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.id = v_gate.id;
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
    ELSIF v_gate.status = 'waiting' AND p_fits ->> v_gate.asset = 'false' THEN
        v_answer := 'misfit';
    ELSIF v_gate.status = 'waiting' THEN
        UPDATE signal_gate_gates g
        SET status = 'signaled',
            signaled_at = v_now,
            ended_at = v_now,
            payload = p_payload::json,
            sender = p_sender::json,
            is_checked = coalesce(p_fits ->> g.asset = 'true', false)
        WHERE g.id = v_gate.id
        RETURNING * INTO v_gate;
        v_answer := 'accepted';
    ELSIF v_gate.status = 'signaled' THEN
        v_answer := CASE WHEN v_gate.payload::jsonb = v_payload THEN 'repeated' ELSE 'already_signaled' END;
    ELSE
        v_answer := CASE v_gate.status WHEN 'timeout' THEN 'expired' ELSE 'cancelled' END;
    END IF;
    RETURN (SELECT gate FROM signal_gate_read(v_gate, v_answer) gate);
END;
$$;

-- Send signals; a row each, in the order sent: what became of it, and its gate if there is one.
--
-- p_signals: objects of token, payload (JSON text), sender (JSON text, or null) and fits: null, or an object that says
-- by asset whether the payload is what its on_signal takes. The answers:
--
--   accepted          It was the first; the materialization goes on.
--   repeated          The gate has this very payload already.
--   kept              No gate is open under the token yet; the one that opens takes it.
--   already_signaled  The gate, or what is kept, has another payload.
--   expired           The gate's time was up.
--   cancelled         Its materialization has ended, or somebody has closed the gate.
--   misfit            The payload is not what the gate's asset takes.
--   busy              Somebody has one of the locks, and p_waits does not wait for that.
--
-- Of several at once one is accepted. Payloads are compared as JSON, not as text.
-- Locks: the jobs, the materializations, the gates; of tokens without a gate these. With p_waits only one at a time,
-- as these are taken signal by signal.
CREATE FUNCTION signal_gate_signal_v1(p_signals json, p_waits boolean)
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
    v_signal record;
    v_gate signal_gate_record;
    v_woken bigint[];
BEGIN
    FOR v_signal IN
        SELECT * FROM json_to_recordset(p_signals) AS sent(token text, payload text, sender text, fits json)
    LOOP
        v_gate := signal_gate_take(v_signal.token, v_signal.payload, v_signal.sender, v_signal.fits, p_waits);
        IF v_gate.answer = 'accepted' THEN
            v_woken := v_woken || v_gate.materialization_id;
        END IF;
        RETURN NEXT v_gate;
    END LOOP;
    IF v_woken IS NOT NULL THEN
        PERFORM flowstone_wake(v_woken, 'null');
    END IF;
END;
$$;

-- For everybody who speaks SQL: send the signal of a token, in a transaction of your own. Returns the answer.
CREATE FUNCTION signal_gate_signal(p_token text, p_payload json DEFAULT 'null', p_sender json DEFAULT NULL)
    RETURNS text
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT sent.answer
    FROM signal_gate_signal_v1(
        json_build_array(json_build_object(
            'token', p_token, 'payload', coalesce(p_payload, 'null')::text, 'sender', p_sender::text
        )),
        true
    ) sent;
$$;
