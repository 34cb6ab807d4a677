-- Open one gate, whatever there is already; see signal_gate_create_v1.
CREATE FUNCTION signal_gate_open(
    p_materialization bigint,
    p_claim integer,
    p_attempt integer,
    p_token text,
    p_timeout_ms bigint,
    p_action text,
    p_max_retries integer,
    p_metadata text
)
    RETURNS signal_gate_record
    LANGUAGE plpgsql
AS $$
DECLARE
    v_hash text := signal_gate_hash(p_token);
    v_now timestamptz;
    v_row flowstone_materializations;
    v_before bigint[];
    v_gate signal_gate_gates;
    v_other_status flowstone_status;
    v_early signal_gate_early;
BEGIN
    PERFORM signal_gate_lock_token(v_hash, true);
    PERFORM flowstone_lock_waits(ARRAY[p_materialization], true);
    SELECT * INTO v_row FROM flowstone_materializations m WHERE m.id = p_materialization;
    IF v_row.id IS NULL OR v_row.status <> 'running' OR v_row.claim <> p_claim THEN
        RETURN (SELECT gate FROM signal_gate_read(NULL, 'lost') gate);
    END IF;
    v_before := ARRAY(
        SELECT g.id
        FROM signal_gate_gates g
        WHERE g.id = ANY (ARRAY(
            SELECT own.id FROM signal_gate_gates own WHERE own.materialization_id = p_materialization
            UNION ALL
            SELECT other.id FROM signal_gate_gates other WHERE other.token_hash = v_hash AND other.is_current
        ))
        ORDER BY g.id
        FOR UPDATE
    );
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.token_hash = v_hash AND g.is_current;

    IF v_gate.materialization_id = p_materialization AND (
        v_gate.status = 'waiting'
        -- Signaled before it was waited for: this is a repeat of what opened it, whose answer was lost.
        OR v_gate.status = 'signaled' AND EXISTS (
            SELECT FROM flowstone_waits w WHERE w.materialization_id = p_materialization AND w.early_at IS NOT NULL
        )
    )
    THEN
        RETURN (SELECT gate FROM signal_gate_read(v_gate, 'opened') gate);
    END IF;
    IF v_gate.status = 'waiting' THEN
        SELECT m.status INTO v_other_status FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id;
    END IF;
    IF v_gate.materialization_id = p_materialization AND v_gate.status = 'signaled'
        OR v_other_status IN ('ready', 'running', 'waiting')
    THEN
        RETURN (SELECT gate FROM signal_gate_read(v_gate, 'taken') gate);
    END IF;

    v_now := clock_timestamp();
    UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = v_now
    WHERE g.id = ANY (v_before) AND g.ended_at IS NULL;
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
        PERFORM flowstone_wake(ARRAY[p_materialization], 'null');
    END IF;
    RETURN (SELECT gate FROM signal_gate_read(v_gate, 'opened') gate);
END;
$$;

-- Open gates for materializations that run under claims; a row each, in the order asked. Arrays run in parallel.
--
-- The answers:
--
--   opened  Of a repeat it is the gate that is there already, and signaled at once if its signal came early. Another
--           open gate of the same materialization is cancelled: the attempt that opened it was lost.
--   lost    The claim is no longer the materialization's.
--   taken   The token belongs to another open gate (which is the row), or this materialization has gone on with it.
--   busy    Without p_waits: somebody has one of the locks, or it is not as plain as opening a gate where there is
--           neither a gate nor a signal. What else is in the row means nothing.
--
-- Locks: the tokens, the jobs, the materializations, their gates and the tokens'. With p_waits only one at a time, as
-- these are taken gate by gate then.
CREATE FUNCTION signal_gate_create_v1(
    p_materializations bigint[],
    p_claims integer[],
    p_attempts integer[],
    p_tokens text[],
    p_timeouts_ms bigint[],
    p_actions text[],
    p_max_retries integer[],
    p_metadata text[],
    p_waits boolean
)
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
    v_locked bigint[];
    v_hashes text[];
    v_now timestamptz;
    v_gates bigint[];
    v_opened bigint[];
BEGIN
    IF p_waits THEN
        FOR v_place IN 1 .. cardinality(p_materializations) LOOP
            RETURN NEXT signal_gate_open(
                p_materializations[v_place], p_claims[v_place], p_attempts[v_place], p_tokens[v_place],
                p_timeouts_ms[v_place], p_actions[v_place], p_max_retries[v_place], p_metadata[v_place]
            );
        END LOOP;
        RETURN;
    END IF;

    v_locked := flowstone_lock_waits(p_materializations, false);
    -- By place; null is a token that somebody has.
    v_hashes := ARRAY(
        SELECT CASE WHEN signal_gate_lock_token(tokens.hash, false) THEN tokens.hash END
        FROM (
            SELECT signal_gate_hash(each.token) AS hash, each.place
            FROM unnest(p_tokens) WITH ORDINALITY AS each(token, place)
            OFFSET 0
        ) tokens
        ORDER BY tokens.place
    );
    v_now := clock_timestamp();
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT ON (one.materialization) one.*
        FROM (
            SELECT DISTINCT ON (each.hash) each.*
            FROM unnest(
                p_materializations, p_claims, p_attempts, p_tokens, p_timeouts_ms, p_actions, p_max_retries,
                p_metadata, v_hashes
            ) AS each(materialization, claim, attempt, token, timeout_ms, action, max_retries, metadata, hash)
            WHERE each.hash IS NOT NULL
            ORDER BY each.hash, each.materialization
        ) one
        ORDER BY one.materialization, one.hash
    ),
    opened AS (
        INSERT INTO signal_gate_gates AS g (
            materialization_id, run_id, asset, partition, attempt, token, token_hash, opened_at, timeout_at,
            timeout_action, max_timeout_retries, metadata
        )
        SELECT
            m.id, m.run_id, m.asset, m.partition, asked.attempt, asked.token, asked.hash, v_now,
            v_now + asked.timeout_ms * interval '1 ms', asked.action, asked.max_retries, asked.metadata::json
        FROM asked
        JOIN flowstone_materializations m ON m.id = asked.materialization
        WHERE asked.materialization = ANY (v_locked)
            AND m.claim = asked.claim
            AND m.status = 'running'
            AND NOT EXISTS (SELECT FROM signal_gate_gates g WHERE g.token_hash = asked.hash AND g.is_current)
            AND NOT EXISTS (SELECT FROM signal_gate_gates g WHERE g.materialization_id = m.id AND g.ended_at IS NULL)
            AND NOT EXISTS (SELECT FROM signal_gate_early e WHERE e.token_hash = asked.hash)
        ORDER BY m.id
        RETURNING g.id, g.materialization_id
    )
    SELECT array_agg(opened.id), array_agg(opened.materialization_id) INTO v_gates, v_opened FROM opened;
    IF v_gates IS NOT NULL THEN
        PERFORM flowstone_expect_waits(v_opened);
    END IF;
    RETURN QUERY
    SELECT gate.*
    FROM unnest(p_materializations, v_hashes) WITH ORDINALITY AS asked(materialization, hash, place)
    LEFT JOIN signal_gate_gates g
        ON g.token_hash = asked.hash AND g.is_current AND g.materialization_id = asked.materialization
    CROSS JOIN LATERAL signal_gate_read(g, CASE WHEN g.id = ANY (v_gates) THEN 'opened' ELSE 'busy' END) gate
    ORDER BY asked.place;
END;
$$;
