-- What people do with scatters: look, change limits, let failures go again.

-- Scatters, newest first, as the view has them; with p_barrier that one alone.
CREATE FUNCTION scatter_overview_v1(p_barrier bigint, p_run bigint, p_before bigint, p_limit integer)
    RETURNS TABLE (
        materialization_id bigint, run_id bigint, asset text, partition text, status text, total integer,
        completed integer, failed integer, retried integer, expected_total bigint, is_closed boolean,
        is_batched boolean, seconds double precision, seconds_left double precision, max_concurrent integer,
        rate_count integer, rate_ms bigint, failure_mode text, failure_threshold double precision,
        error_message text, created_at timestamptz, finished_at timestamptz, items_pruned_at timestamptz
    )
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT
        p.materialization_id, p.run_id, p.asset, p.partition, p.status, p.total, p.completed, p.failed,
        p.retried, p.expected_total, p.is_closed, p.is_batched, p.seconds, p.seconds_left, p.max_concurrent,
        p.rate_count, p.rate_ms, p.failure_mode, p.failure_threshold, p.error_message, p.created_at,
        p.finished_at, p.items_pruned_at
    FROM scatter_progress p
    WHERE (p_barrier IS NULL OR p.materialization_id = p_barrier)
        AND (p_run IS NULL OR p.run_id = p_run)
        AND (p_before IS NULL OR p.materialization_id < p_before)
    ORDER BY p.materialization_id DESC
    LIMIT p_limit;
END;
$$;

-- What items of a scatter failed with, the most frequent first.
CREATE FUNCTION scatter_failures_v1(p_barrier bigint, p_limit integer)
    RETURNS TABLE (
        error_type text, error_message text, items bigint, first_index integer, last_failed_at timestamptz
    )
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT f.error_type, f.error_message, f.items, f.first_index, f.last_failed_at
    FROM scatter_failures f
    WHERE f.materialization_id = p_barrier
    ORDER BY f.items DESC, f.first_index
    LIMIT p_limit;
END;
$$;

-- Let pumps look at a barrier now, though they were told that there is nothing to do for long. The caller holds
-- the barrier. Locks: jobs of assistants, without waiting; then as adding an assistant does.
CREATE FUNCTION scatter_call_back(p_barrier bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_pump bigint;
BEGIN
    PERFORM flowstone_hasten_assistants(p_barrier);
    SELECT max(m.id) INTO v_pump FROM flowstone_materializations m WHERE m.assists = p_barrier;
    -- As one that is about to go has not heard of it.
    PERFORM scatter_call_help(p_barrier, coalesce(v_pump, p_barrier));
END;
$$;

-- Change limits of a scatter that is executing: those that p_changes names, null removes one. Returns the
-- status that it had; no row: there is none. Locks: the barrier; then, if it ends by that, as its end does, and
-- otherwise as calling pumps back does.
CREATE FUNCTION scatter_change_v1(p_barrier bigint, p_changes jsonb)
    RETURNS TABLE (run_id bigint, status text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    v_barrier scatter_barriers;
    v_status text;
BEGIN
    SELECT b.* INTO v_barrier FROM scatter_barriers b WHERE b.materialization_id = p_barrier FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_barrier.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN
        PERFORM scatter_end_v1(p_barrier, 'cancelled', NULL);
        v_barrier.status := 'cancelled';
    END IF;
    RETURN QUERY SELECT v_barrier.run_id, v_barrier.status;
    IF v_barrier.status <> 'executing' THEN
        RETURN;
    END IF;
    IF p_changes ? 'max_concurrent' THEN
        v_barrier.max_concurrent := (p_changes ->> 'max_concurrent')::integer;
    END IF;
    IF p_changes ? 'rate_count' THEN
        v_barrier.rate_count := (p_changes ->> 'rate_count')::integer;
        v_barrier.rate_ms := (p_changes ->> 'rate_ms')::bigint;
        v_barrier.next_start_at := NULL;
    END IF;
    IF p_changes ? 'failure_threshold' THEN
        v_barrier.failure_threshold := (p_changes ->> 'failure_threshold')::double precision;
    END IF;
    v_status := scatter_judge(v_barrier);
    UPDATE scatter_barriers b
    SET max_concurrent = v_barrier.max_concurrent,
        rate_count = v_barrier.rate_count,
        rate_ms = v_barrier.rate_ms,
        next_start_at = v_barrier.next_start_at,
        failure_threshold = v_barrier.failure_threshold,
        status = coalesce(v_status, b.status),
        finished_at = CASE WHEN v_status IS NOT NULL THEN clock_timestamp() END
    WHERE b.materialization_id = p_barrier;
    IF v_status IS NOT NULL THEN
        PERFORM scatter_tell_end(p_barrier, v_status);
    ELSIF p_changes ?| '{max_concurrent,rate_count}' THEN
        PERFORM scatter_call_back(p_barrier);
    END IF;
END;
$$;

-- Let every failed item of a scatter that is executing be tried once more. Returns the status that it had and
-- how many go again; no row: there is none. Locks: the barrier, then as calling pumps back does.
--
-- Their attempts stay counted: what still has an item from an earlier attempt has nothing to say about it.
CREATE FUNCTION scatter_retry_failed_v1(p_barrier bigint)
    RETURNS TABLE (run_id bigint, status text, items integer)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_barrier scatter_barriers;
BEGIN
    SELECT b.* INTO v_barrier FROM scatter_barriers b WHERE b.materialization_id = p_barrier FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_barrier.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN
        PERFORM scatter_end_v1(p_barrier, 'cancelled', NULL);
        v_barrier.status := 'cancelled';
    END IF;
    items := 0;
    IF v_barrier.status = 'executing' AND v_barrier.failed > 0 THEN
        WITH again AS (
            UPDATE scatter_items i SET status = 0, finished_at = NULL
            WHERE i.materialization_id = p_barrier AND i.status = 2
            RETURNING i.index, i.attempts
        ),
        handed_out AS (
            INSERT INTO scatter_chunks (materialization_id, indexes, attempts)
            SELECT p_barrier, array_agg(a.index ORDER BY a.index), a.attempts
            FROM (
                SELECT a.*, row_number() OVER (PARTITION BY a.attempts ORDER BY a.index) - 1 AS place
                FROM again a
            ) a
            GROUP BY a.attempts, a.place / 500
        )
        SELECT count(*)::integer INTO items FROM again;
        UPDATE scatter_barriers b SET failed = b.failed - items, retried = b.retried + items
        WHERE b.materialization_id = p_barrier;
        PERFORM scatter_call_back(p_barrier);
    END IF;
    RETURN QUERY SELECT v_barrier.run_id, v_barrier.status, items;
END;
$$;
