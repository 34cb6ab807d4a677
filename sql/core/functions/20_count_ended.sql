-- What a run's status is, given how many of its materializations are open, failed and cancelled.
CREATE FUNCTION flowstone_status_of_run(p_open bigint, p_failed bigint, p_cancelled bigint)
    RETURNS flowstone_run_status
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT (
        CASE
            WHEN p_open > 0 THEN 'running'
            WHEN p_failed > 0 THEN 'failed'
            WHEN p_cancelled > 0 THEN 'cancelled'
            ELSE 'succeeded'
        END
    )::flowstone_run_status;
$$;

-- The same as below for successes of one run, which is most of what is counted.
CREATE FUNCTION flowstone_count_succeeded(p_run bigint, p_count bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_status flowstone_run_status;
BEGIN
    UPDATE flowstone_runs r
    SET open_count = r.open_count - p_count,
        finished_at = CASE WHEN r.open_count = p_count THEN clock_timestamp() END,
        status = flowstone_status_of_run(r.open_count - p_count, r.failed_count, r.cancelled_count)
    WHERE r.id = p_run
    RETURNING r.status INTO v_status;
    IF v_status <> 'running' THEN
        PERFORM flowstone_notify_runs(ARRAY[p_run]);
    END IF;
END;
$$;

-- Take materializations that have just ended off their runs' counters, and end the runs that are done. Of
-- jobs, which have no run, tell those who wait for them.
--
-- Called once for each real transition to a terminal status, by whoever made it, in its transaction.
-- Locks: flowstone_runs by id.
CREATE FUNCTION flowstone_count_ended(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_finished bigint[];
    v_awaited bigint[];
BEGIN
    SELECT array_agg(m.id) INTO v_awaited
    FROM flowstone_materializations m
    WHERE m.id = ANY (p_ids) AND m.is_awaited;
    IF v_awaited IS NOT NULL THEN
        PERFORM flowstone_notify_jobs(v_awaited);
    END IF;

    WITH ended AS MATERIALIZED (
        SELECT
            m.run_id,
            count(*) AS all_of_them,
            count(*) FILTER (WHERE m.status IN ('failed', 'upstream_failed') AND NOT m.is_tolerated) AS failed,
            count(*) FILTER (WHERE m.status = 'cancelled' AND NOT m.is_tolerated) AS cancelled
        FROM flowstone_materializations m
        WHERE m.id = ANY (p_ids)
        GROUP BY m.run_id
        ORDER BY m.run_id
    ),
    counted AS (
        UPDATE flowstone_runs r
        SET open_count = r.open_count - e.all_of_them,
            failed_count = r.failed_count + e.failed,
            cancelled_count = r.cancelled_count + e.cancelled,
            finished_at = CASE WHEN r.open_count = e.all_of_them THEN clock_timestamp() END,
            status = flowstone_status_of_run(
                r.open_count - e.all_of_them, r.failed_count + e.failed, r.cancelled_count + e.cancelled
            )
        FROM ended e
        WHERE r.id = e.run_id
        RETURNING r.id, r.status
    )
    SELECT array_agg(counted.id) INTO v_finished FROM counted WHERE counted.status <> 'running';

    IF v_finished IS NOT NULL THEN
        PERFORM flowstone_notify_runs(v_finished);
    END IF;
END;
$$;
