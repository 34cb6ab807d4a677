-- Open gates for materializations that run under claims, as many at once; arrays run in parallel.
--
-- Returns a row for each gate that it has opened. What is not as simple (a gate or a signal is there already, the
-- claim is over, somebody has a lock) it leaves alone, without waiting: signal_gate_create_v1 says of each
-- what it is. Locks, none of which is waited for: the jobs, the materializations, the tokens.
CREATE FUNCTION signal_gate_create_many_v1(
    p_materializations bigint[],
    p_claims integer[],
    p_attempts integer[],
    p_tokens text[],
    p_timeouts_ms bigint[],
    p_actions text[],
    p_max_retries integer[],
    p_metadata text[]
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
    v_now timestamptz;
    v_locked bigint[];
    v_hashes text[];
    v_gates bigint[];
BEGIN
    SELECT array_agg(held.id) INTO v_locked
    FROM (
        SELECT m.id
        FROM unnest(p_materializations, p_claims) AS asked(id, claim)
        JOIN procrastinate_jobs j ON j.id = asked.id
        JOIN flowstone_materializations m ON m.id = asked.id
        WHERE m.status = 'running' AND m.claim = asked.claim
        ORDER BY m.id
        FOR UPDATE OF j, m SKIP LOCKED
    ) held;
    SELECT array_agg(tokens.hash) INTO v_hashes
    FROM (
        SELECT DISTINCT signal_gate_hash(asked.token) AS hash
        FROM unnest(p_materializations, p_tokens) AS asked(id, token)
        WHERE asked.id = ANY (v_locked)
    ) tokens
    WHERE pg_try_advisory_xact_lock(hashtextextended(tokens.hash, 0));

    v_now := clock_timestamp();
    WITH asked AS (
        SELECT DISTINCT ON (asked.token) asked.*, signal_gate_hash(asked.token) AS hash
        FROM unnest(
            p_materializations, p_claims, p_attempts, p_tokens, p_timeouts_ms, p_actions, p_max_retries, p_metadata
        ) AS asked(id, claim, attempt, token, timeout_ms, action, max_retries, metadata)
        WHERE asked.id = ANY (v_locked)
        ORDER BY asked.token, asked.id
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
        JOIN flowstone_materializations m ON m.id = asked.id AND m.claim = asked.claim
        WHERE asked.hash = ANY (v_hashes)
            AND NOT EXISTS (SELECT FROM signal_gate_gates g WHERE g.token_hash = asked.hash AND g.is_current)
            AND NOT EXISTS (SELECT FROM signal_gate_gates g WHERE g.materialization_id = m.id AND g.status = 'waiting')
            AND NOT EXISTS (SELECT FROM signal_gate_early e WHERE e.token_hash = asked.hash)
        ORDER BY m.id
        RETURNING g.id, g.materialization_id
    )
    SELECT array_agg(opened.id), array_agg(opened.materialization_id) INTO v_gates, v_locked FROM opened;
    IF v_gates IS NULL THEN
        RETURN;
    END IF;
    PERFORM flowstone_expect_waits(v_locked);
    RETURN QUERY
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g) gate
    WHERE g.id = ANY (v_gates);
END;
$$;
