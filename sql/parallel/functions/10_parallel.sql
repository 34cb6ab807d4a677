-- The verbs of the coordinator. Each may be repeated; what was said of a branch first stays.

-- An execution with its branches, in order; no row: there is none. due_ms: until the branch is late, by this
-- database's clock; null: never, or it has ended.
CREATE FUNCTION parallel_status_v1(p_id bigint)
    RETURNS TABLE (
        failure_mode text,
        is_scheduled boolean,
        ended text,
        error text,
        branch text,
        asset text,
        is_required boolean,
        is_waited_for boolean,
        timeout_ms bigint,
        branch_materialization_id bigint,
        status text,
        result text,
        branch_error text,
        due_ms bigint
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        e.failure_mode, e.scheduled_at IS NOT NULL, e.ended, e.error::text,
        b.branch, b.asset, b.is_required, b.is_waited_for, b.timeout_ms, b.branch_materialization_id, b.status,
        b.result::text, b.error::text,
        CASE WHEN b.status = 'pending' THEN
            ceil(extract(epoch FROM
                e.scheduled_at + least(b.timeout_ms, e.timeout_ms) * interval '1 ms' - clock_timestamp()
            ) * 1000)::bigint
        END
    FROM parallel_executions e
    LEFT JOIN parallel_branches b ON b.materialization_id = e.materialization_id
    WHERE e.materialization_id = p_id
    ORDER BY b.place;
$$;

-- Arrays run in parallel, one entry per branch, in order.
CREATE FUNCTION parallel_create_execution_v1(
    p_id bigint,
    p_failure_mode text,
    p_timeout_ms bigint,
    p_branches text[],
    p_assets text[],
    p_required boolean[],
    p_waited_for boolean[],
    p_timeouts_ms bigint[],
    p_materializations bigint[]
)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO parallel_executions (materialization_id, failure_mode, timeout_ms)
    VALUES (p_id, p_failure_mode, p_timeout_ms)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO parallel_branches (
            materialization_id, branch, place, asset, is_required, is_waited_for, timeout_ms, branch_materialization_id
        )
        SELECT p_id, b.branch, b.place, b.asset, b.is_required, b.is_waited_for, b.timeout_ms, b.final_id
        FROM unnest(p_branches, p_assets, p_required, p_waited_for, p_timeouts_ms, p_materializations)
            WITH ORDINALITY AS b(branch, asset, is_required, is_waited_for, timeout_ms, final_id, place);
    END IF;
END;
$$;

CREATE FUNCTION parallel_schedule_branches_v1(p_id bigint)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    UPDATE parallel_executions e SET scheduled_at = clock_timestamp()
    WHERE e.materialization_id = p_id AND e.scheduled_at IS NULL;
$$;

-- Returns the names that the execution has no branch of; with any, nothing is recorded.
CREATE FUNCTION parallel_settle_branches_v1(
    p_id bigint, p_branches text[], p_statuses text[], p_results text[], p_errors text[]
)
    RETURNS text[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_unknown text[];
BEGIN
    PERFORM FROM parallel_executions e WHERE e.materialization_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    v_unknown := ARRAY(
        SELECT unnest(p_branches)
        EXCEPT
        SELECT b.branch FROM parallel_branches b WHERE b.materialization_id = p_id
    );
    IF v_unknown = '{}' THEN
        UPDATE parallel_branches b
        SET status = s.status, result = s.result::json, error = s.error::json, ended_at = clock_timestamp()
        FROM unnest(p_branches, p_statuses, p_results, p_errors) AS s(branch, status, result, error)
        WHERE b.materialization_id = p_id AND b.branch = s.branch AND b.status = 'pending';
    END IF;
    RETURN v_unknown;
END;
$$;

CREATE FUNCTION parallel_end_execution_v1(p_id bigint, p_error text)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    UPDATE parallel_executions e
    SET ended = CASE WHEN p_error IS NULL THEN 'complete' ELSE 'failed' END,
        ended_at = clock_timestamp(),
        error = p_error::json
    WHERE e.materialization_id = p_id;
$$;
