-- How the children of a barrier stand, in their order; none of one that is not distributed.
CREATE FUNCTION scatter_children_v1(p_barrier bigint, p_after integer, p_limit integer)
    RETURNS TABLE (
        batch_index integer, first_index integer, last_index integer, total integer, completed integer, failed integer
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
AS $$
    SELECT c.batch_index, c.first_index, c.last_index, n.total, n.completed, n.failed
    FROM (
        SELECT c.*
        FROM scatter_children c
        WHERE c.materialization_id = p_barrier AND c.batch_index > p_after
        ORDER BY c.batch_index
        LIMIT p_limit
    ) c
    CROSS JOIN LATERAL (
        SELECT
            count(*)::integer AS total,
            count(*) FILTER (WHERE i.status = 1)::integer AS completed,
            count(*) FILTER (WHERE i.status = 2)::integer AS failed
        FROM scatter_items i
        WHERE i.materialization_id = c.materialization_id AND i.index BETWEEN c.first_index AND c.last_index
    ) n
    ORDER BY c.batch_index;
$$;
