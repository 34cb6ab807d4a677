-- Delete up to p_limit rows of the items of scatters that have ended for good, and return how many there were.
--
-- Pruning calls it until there are none (flowstone_attach_v1). The counters stay, and that the items went is
-- noted before the first of them does. Locks: feeds, barriers.
CREATE FUNCTION scatter_forget_items(p_ids bigint[], p_limit integer)
    RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    v_barrier bigint;
    v_table text;
    v_key text;
    v_rows integer;
    v_count integer := 0;
BEGIN
    UPDATE scatter_feeds f SET input = NULL, progress = NULL
    WHERE f.materialization_id = ANY (p_ids) AND (f.input IS NOT NULL OR f.progress IS NOT NULL);
    UPDATE scatter_barriers b
    SET items_pruned_at = clock_timestamp(),
        -- Its run was cancelled, and no pump has looked since.
        status = CASE WHEN b.status = 'executing' THEN 'cancelled' ELSE b.status END,
        finished_at = coalesce(b.finished_at, clock_timestamp())
    WHERE b.materialization_id = ANY (p_ids) AND b.items_pruned_at IS NULL;
    DELETE FROM scatter_chunks c WHERE c.materialization_id = ANY (p_ids);
    DELETE FROM scatter_pumps s WHERE s.materialization_id = ANY (p_ids);
    FOR v_barrier, v_table, v_key IN
        SELECT b.materialization_id, many.name, many.key
        FROM scatter_barriers b
        CROSS JOIN (VALUES
            ('scatter_items', 'index'), ('scatter_batched_keys', 'key_hash'), ('scatter_children', 'batch_index')
        ) AS many(name, key)
        WHERE b.materialization_id = ANY (p_ids)
        ORDER BY b.materialization_id
    LOOP
        EXECUTE format(
            'DELETE FROM %1$I WHERE materialization_id = $1 AND %2$I = ANY (ARRAY('
            '    SELECT %2$I FROM %1$I WHERE materialization_id = $1 ORDER BY %2$I LIMIT $2'
            '))',
            v_table, v_key
        ) USING v_barrier, p_limit - v_count;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_count := v_count + v_rows;
        EXIT WHEN v_count >= p_limit;
    END LOOP;
    RETURN v_count;
END;
$$;
