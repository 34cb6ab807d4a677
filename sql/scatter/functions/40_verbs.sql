-- Settle items by their keys, whoever has them; what is settled already stays as it is.
--
-- p_events: 1 completed, 2 failed. unknown: the place of the first key that the barrier does not have; then
-- nothing is settled. Locks: the barrier.
CREATE FUNCTION scatter_settle_v1(
    p_barrier bigint, p_hashes bytea[], p_events smallint[], p_results text[], p_errors text[]
)
    RETURNS TABLE (status text, settled integer, unknown integer)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_b scatter_barriers;
    v_done record;
    v_ended text;
BEGIN
    SELECT b.* INTO v_b FROM scatter_barriers b WHERE b.materialization_id = p_barrier FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT min(wanted.place)::integer INTO unknown
    FROM (
        SELECT p_barrier AS barrier, w.* FROM unnest(p_hashes) WITH ORDINALITY AS w(hash, place) OFFSET 0
    ) wanted
    WHERE NOT EXISTS (
        SELECT FROM scatter_items i
        WHERE i.materialization_id = wanted.barrier AND i.key_hash = wanted.hash
    );
    settled := 0;
    IF v_b.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN
        PERFORM scatter_end_v1(p_barrier, 'cancelled', NULL);
        v_b.status := 'cancelled';
    END IF;
    IF v_b.status = 'executing' AND unknown IS NULL THEN
        WITH settled AS (
            UPDATE scatter_items i
            SET status = o.event,
                attempts = i.attempts + 1,
                result = o.result::json,
                error = o.error::json,
                finished_at = clock_timestamp()
            FROM (
                SELECT p_barrier AS barrier, o.*
                FROM unnest(p_hashes, p_events, p_results, p_errors) AS o(hash, event, result, error)
                OFFSET 0
            ) o
            WHERE i.materialization_id = o.barrier AND i.key_hash = o.hash AND i.status = 0
            RETURNING o.event
        )
        SELECT
            count(*) FILTER (WHERE s.event = 1)::integer AS completed,
            count(*) FILTER (WHERE s.event = 2)::integer AS failed
        INTO v_done
        FROM settled s;
        settled := v_done.completed + v_done.failed;
        v_b.completed := v_b.completed + v_done.completed;
        v_b.failed := v_b.failed + v_done.failed;
        v_ended := scatter_judge(v_b);
        UPDATE scatter_barriers b
        SET completed = v_b.completed,
            failed = v_b.failed,
            status = coalesce(v_ended, b.status),
            finished_at = CASE WHEN v_ended IS NOT NULL THEN clock_timestamp() END
        WHERE b.materialization_id = p_barrier;
        IF v_ended IS NOT NULL THEN
            PERFORM scatter_tell_end(p_barrier, v_ended);
        END IF;
    END IF;
    RETURN QUERY SELECT coalesce(v_ended, v_b.status), settled, unknown;
END;
$$;

-- One barrier as it stands.
CREATE FUNCTION scatter_status_v1(p_barrier bigint)
    RETURNS TABLE (
        materialization_id bigint, run_id bigint, asset text, partition text, status text, total integer,
        completed integer, failed integer, retried integer, is_closed boolean, expected_total bigint,
        options text, error text, created_at timestamptz, finished_at timestamptz
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        b.materialization_id, b.run_id, f.asset, f.partition,
        CASE WHEN b.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN 'cancelled' ELSE b.status END,
        b.total, b.completed, b.failed, b.retried, b.is_closed, f.expected_total, scatter_options(f.options, b),
        b.error::text, b.created_at, b.finished_at
    FROM scatter_barriers b
    JOIN scatter_feeds f ON f.materialization_id = b.materialization_id
    WHERE b.materialization_id = p_barrier;
$$;

-- A page of the items of a barrier in the order of their index, as parallel arrays; p_statuses null: all. Of large
-- ones it has fewer than p_limit, but one at least: 3 MiB as they are stored, which compression may have made of 200.
CREATE FUNCTION scatter_gather_v1(p_barrier bigint, p_statuses smallint[], p_after integer, p_limit integer)
    RETURNS TABLE (
        indexes integer[], statuses smallint[], attempts smallint[], keys text[], items text[], results text[],
        errors text[], partial text[]
    )
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    v_bytes bigint;
    v_rows bigint;
BEGIN
    -- Twice over the page: with a running sum in one query, pages of small items take a third longer.
    SELECT sum(i.bytes), count(*) INTO v_bytes, v_rows
    FROM (
        SELECT pg_column_size(i.item) + coalesce(pg_column_size(i.result), 0) AS bytes
        FROM scatter_items i
        WHERE i.materialization_id = p_barrier
            AND i.index > p_after
            AND (p_statuses IS NULL OR i.status = ANY (p_statuses))
        ORDER BY i.index
        LIMIT p_limit
    ) i;
    IF v_bytes > 3145728 THEN
        p_limit := greatest(1, v_rows * 3145728 / v_bytes);
    END IF;
    RETURN QUERY
    SELECT
        array_agg(i.index), array_agg(i.status), array_agg(i.attempts), array_agg(i.key::text),
        array_agg(i.item::text), array_agg(i.result::text), array_agg(i.error::text), array_agg(i.errors::text)
    FROM (
        SELECT i.*
        FROM scatter_items i
        WHERE i.materialization_id = p_barrier
            AND i.index > p_after
            AND (p_statuses IS NULL OR i.status = ANY (p_statuses))
        ORDER BY i.index
        LIMIT p_limit
    ) i;
END;
$$;
