-- Which of these materializations cannot be settled now: somebody holds a row that it would change.
--
-- It tries the locks of flowstone_settle, in the same order, without waiting for any, and gives them back
-- with its own transaction. What it cannot tell (a whole table that is locked) it lets time out.
CREATE FUNCTION flowstone_locked_v1(p_ids bigint[])
    RETURNS bigint[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '2s'
AS $$
DECLARE
    v_jobs bigint[];
    v_rows bigint[];
    v_runs bigint[];
    v_current bigint[];
BEGIN
    v_jobs := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (p_ids)
        ORDER BY j.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_rows := ARRAY(
        SELECT m.id FROM flowstone_materializations m
        WHERE m.id IN (
            SELECT unnest(s.id || s.dependents || s.optional_dependents)
            FROM flowstone_materializations s
            WHERE s.id = ANY (p_ids)
        )
        ORDER BY m.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_runs := ARRAY(
        SELECT r.id FROM flowstone_runs r
        WHERE r.id IN (SELECT m.run_id FROM flowstone_materializations m WHERE m.id = ANY (p_ids))
        ORDER BY r.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_current := ARRAY(
        SELECT c.materialization_id
        FROM flowstone_current c
        WHERE (c.asset, c.partition) IN (
            SELECT m.asset, m.partition FROM flowstone_materializations m WHERE m.id = ANY (p_ids)
        )
        ORDER BY c.asset, c.partition
        FOR NO KEY UPDATE SKIP LOCKED
    );
    RETURN ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        LEFT JOIN procrastinate_jobs j ON j.id = m.id
        LEFT JOIN flowstone_current c ON c.asset = m.asset AND c.partition = m.partition
        WHERE m.id = ANY (p_ids)
            AND NOT (
                (j.id IS NULL OR j.id = ANY (v_jobs))
                AND m.id || m.dependents || m.optional_dependents <@ v_rows
                AND m.run_id = ANY (v_runs)
                AND (c.materialization_id IS NULL OR c.materialization_id = ANY (v_current))
            )
    );
END;
$$;
