-- Gates by their ids; a row each, in the order asked: 'found' or 'absent'.
CREATE FUNCTION signal_gate_get_v1(p_gates bigint[])
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_material = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT gate.*
    FROM unnest(p_gates) WITH ORDINALITY AS asked(id, place)
    LEFT JOIN signal_gate_gates g ON g.id = asked.id
    CROSS JOIN LATERAL signal_gate_read(g, CASE WHEN g.id IS NULL THEN 'absent' ELSE 'found' END) gate
    ORDER BY asked.place;
$$;

-- The gate that a token means.
CREATE FUNCTION signal_gate_find_v1(p_token text)
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g) gate
    WHERE g.token_hash = signal_gate_hash(p_token) AND g.is_current;
$$;

-- Every gate that a materialization has had, the latest first.
CREATE FUNCTION signal_gate_of_materialization_v1(p_materialization bigint)
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g) gate
    WHERE g.materialization_id = p_materialization
    ORDER BY g.id DESC;
$$;

-- Every gate that a run has had, the latest last.
CREATE FUNCTION signal_gate_of_run_v1(p_run bigint)
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g) gate
    WHERE g.run_id = p_run
    ORDER BY g.id;
$$;

-- Open gates, earliest deadline first, those without one last; with p_asset only of that asset.
CREATE FUNCTION signal_gate_waiting_v1(p_asset text, p_limit integer)
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    SET jit = off
AS $$
    SELECT gate.*
    FROM signal_gate_gates g
    CROSS JOIN LATERAL signal_gate_read(g) gate
    WHERE g.status = 'waiting' AND (p_asset IS NULL OR g.asset = p_asset)
    ORDER BY g.timeout_at, g.id
    LIMIT p_limit;
$$;

-- Delete signals that came early, so long ago, and that no gate has taken; at most p_limit. Returns how many.
CREATE FUNCTION signal_gate_prune_v1(p_older_ms bigint, p_limit integer)
    RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM signal_gate_early e
    WHERE e.token_hash = ANY (ARRAY(
        SELECT old.token_hash
        FROM signal_gate_early old
        WHERE old.received_at < clock_timestamp() - p_older_ms * interval '1 ms'
        ORDER BY old.received_at
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END;
$$;
