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
    v_free bigint[];
    v_held_jobs bigint[];
    v_held_rows bigint[];
    v_held_runs bigint[];
    v_held_current bigint[];
BEGIN
    v_jobs := p_ids || ARRAY(
        SELECT unnest(m.awaited_by) FROM flowstone_materializations m WHERE m.id = ANY (p_ids)
    );
    v_free := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (v_jobs)
        ORDER BY j.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_held_jobs := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (v_jobs)
        EXCEPT
        SELECT unnest(v_free)
    );

    v_rows := ARRAY(
        SELECT DISTINCT unnest(m.id || m.dependents || m.optional_dependents || m.starts || m.awaited_by)
        FROM flowstone_materializations m
        WHERE m.id = ANY (p_ids)
    );
    v_free := ARRAY(
        SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (v_rows)
        ORDER BY m.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_held_rows := ARRAY(SELECT unnest(v_rows) EXCEPT SELECT unnest(v_free));

    v_rows := ARRAY(
        SELECT DISTINCT m.run_id FROM flowstone_materializations m WHERE m.id = ANY (p_ids)
    );
    v_free := ARRAY(
        SELECT r.id FROM flowstone_runs r WHERE r.id = ANY (v_rows)
        ORDER BY r.id
        FOR NO KEY UPDATE SKIP LOCKED
    );
    v_held_runs := ARRAY(SELECT unnest(v_rows) EXCEPT SELECT unnest(v_free));

    v_free := ARRAY(
        SELECT c.materialization_id
        FROM flowstone_materializations m
        JOIN flowstone_current c ON c.asset = m.asset AND c.partition = m.partition
        WHERE m.id = ANY (p_ids)
        ORDER BY c.asset, c.partition
        FOR NO KEY UPDATE OF c SKIP LOCKED
    );
    v_held_current := ARRAY(
        SELECT c.materialization_id
        FROM flowstone_materializations m
        JOIN flowstone_current c ON c.asset = m.asset AND c.partition = m.partition
        WHERE m.id = ANY (p_ids)
        EXCEPT
        SELECT unnest(v_free)
    );

    RETURN ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        LEFT JOIN flowstone_current c ON c.asset = m.asset AND c.partition = m.partition
        WHERE m.id = ANY (p_ids)
            AND (
                m.id || coalesce(m.awaited_by, '{}') && v_held_jobs
                OR m.id || m.dependents || m.optional_dependents || m.starts || m.awaited_by && v_held_rows
                OR m.run_id = ANY (v_held_runs)
                OR c.materialization_id = ANY (v_held_current)
            )
    );
END;
$$;
