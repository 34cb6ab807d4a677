-- Clear the place of a gate that is to open: of other gates of its materialization, left open by an attempt that was
-- lost, and of one that has its token. Null when it is clear; otherwise the answer, as of signal_gate_create_v1.
--
-- The caller has locked the token, the job and the materialization. Locks: its gates, and the token's.
CREATE FUNCTION signal_gate_make_way(p_materialization bigint, p_claim integer, p_hash text)
    RETURNS text
    LANGUAGE plpgsql
AS $$
DECLARE
    v_before bigint[];
    v_gate signal_gate_gates;
    v_other_status flowstone_status;
BEGIN
    IF NOT EXISTS (
        SELECT FROM flowstone_materializations m
        WHERE m.id = p_materialization AND m.claim = p_claim AND m.status = 'running'
    ) THEN
        RETURN 'lost';
    END IF;
    v_before := ARRAY(
        SELECT g.id
        FROM signal_gate_gates g
        WHERE g.id = ANY (ARRAY(
            SELECT own.id FROM signal_gate_gates own WHERE own.materialization_id = p_materialization
            UNION ALL
            SELECT other.id FROM signal_gate_gates other WHERE other.token_hash = p_hash AND other.is_current
        ))
        ORDER BY g.id
        FOR UPDATE
    );
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.token_hash = p_hash AND g.is_current;

    IF v_gate.materialization_id = p_materialization AND (
        v_gate.status = 'waiting'
        -- Signaled before it was waited for: this is a repeat of what opened it, whose answer was lost.
        OR v_gate.status = 'signaled' AND EXISTS (
            SELECT FROM flowstone_waits w WHERE w.materialization_id = p_materialization AND w.early_at IS NOT NULL
        )
    )
    THEN
        RETURN 'opened';
    END IF;
    IF v_gate.status = 'waiting' THEN
        SELECT m.status INTO v_other_status FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id;
    END IF;
    IF v_gate.materialization_id = p_materialization AND v_gate.status = 'signaled'
        OR v_other_status IN ('ready', 'running', 'waiting')
    THEN
        RETURN 'taken';
    END IF;

    UPDATE signal_gate_gates g SET status = 'cancelled', ended_at = clock_timestamp()
    WHERE g.id = ANY (v_before) AND g.ended_at IS NULL;
    UPDATE signal_gate_gates g SET is_current = false WHERE g.id = v_gate.id;
    RETURN NULL;
END;
$$;

-- Open gates for materializations that run under claims; a row each, in the order asked. Arrays run in parallel.
--
-- The answers; but for opened, what else is in the row means nothing:
--
--   opened  Of a repeat it is the gate that is there already, and signaled at once if its signal came early. Another
--           open gate of the same materialization is cancelled: the attempt that opened it was lost.
--   lost    The claim is no longer the materialization's.
--   taken   The token belongs to another open gate, or this materialization has gone on with it.
--   busy    Without p_waits: somebody has one of the locks, or it is not as plain as opening a gate where there is
--           neither a gate nor a signal.
--
-- With p_waits only one at a time. Locks: the tokens, the jobs, the materializations, their gates and the tokens'.
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
    v_hashes text[];
    v_locked bigint[];
    v_answer text;
    v_early signal_gate_early;
    v_now timestamptz;
    v_gates bigint[];
    v_opened bigint[];
BEGIN
    -- By place; null is a token that somebody has.
    v_hashes := ARRAY(
        SELECT CASE WHEN signal_gate_lock_token(tokens.hash, p_waits) THEN tokens.hash END
        FROM (
            SELECT signal_gate_hash(each.token) AS hash, each.place
            FROM unnest(p_tokens) WITH ORDINALITY AS each(token, place)
            OFFSET 0
        ) tokens
        ORDER BY tokens.place
    );
    v_locked := flowstone_lock_waits(p_materializations, p_waits);
    IF p_waits THEN
        v_answer := signal_gate_make_way(p_materializations[1], p_claims[1], v_hashes[1]);
        IF v_answer IS NULL THEN
            DELETE FROM signal_gate_early e WHERE e.token_hash = v_hashes[1] RETURNING * INTO v_early;
        END IF;
    END IF;
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
    IF v_early.token_hash IS NOT NULL THEN
        UPDATE signal_gate_gates g
        SET status = 'signaled',
            signaled_at = v_early.received_at,
            ended_at = v_now,
            payload = v_early.payload,
            sender = v_early.sender
        WHERE g.id = ANY (v_gates);
        PERFORM flowstone_wake(v_opened, 'null');
    END IF;
    RETURN QUERY
    SELECT gate.*
    FROM unnest(p_materializations, v_hashes) WITH ORDINALITY AS asked(materialization, hash, place)
    LEFT JOIN signal_gate_gates g
        ON g.token_hash = asked.hash AND g.is_current AND g.materialization_id = asked.materialization
    CROSS JOIN LATERAL signal_gate_read(
        g, CASE WHEN g.id = ANY (v_gates) THEN 'opened' ELSE coalesce(v_answer, 'busy') END
    ) gate
    ORDER BY asked.place;
END;
$$;
