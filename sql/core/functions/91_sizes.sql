-- Every table in this schema with its size, the largest first.
--
-- Counted where that takes a moment, and otherwise as the last analyze or the statistics have it.
CREATE FUNCTION flowstone_table_sizes_v1()
    RETURNS TABLE (table_name text, row_count bigint, is_estimate boolean, total_bytes bigint, index_bytes bigint)
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        SELECT c.oid, c.relname::text AS name, c.reltuples, s.n_live_tup
        FROM pg_class c
        LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p')
        ORDER BY pg_total_relation_size(c.oid) DESC, c.relname
    LOOP
        table_name := v_table.name;
        total_bytes := pg_total_relation_size(v_table.oid);
        index_bytes := pg_indexes_size(v_table.oid);
        is_estimate := pg_relation_size(v_table.oid) > 16 * 1024 * 1024;
        IF is_estimate THEN
            row_count := greatest(v_table.reltuples, v_table.n_live_tup, 0);
        ELSE
            EXECUTE format('SELECT count(*) FROM %I', v_table.name) INTO row_count;
        END IF;
        RETURN NEXT;
    END LOOP;
END;
$$;
