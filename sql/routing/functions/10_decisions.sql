-- Record a decision, and return the one that stands: the first. Nothing, when its run is gone.
--
-- Two workers may be at it at once, one of them late: the second waits for the first to commit, and gets
-- what that one wrote. Locks: nothing but the new row.
CREATE FUNCTION routing_record_v1(
    p_materialization bigint,
    p_run bigint,
    p_router text,
    p_partition text,
    p_selected text,
    p_available text[],
    p_rule text,
    p_predicate text,
    p_error text
)
    RETURNS SETOF routing_decisions
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
AS $$
BEGIN
    INSERT INTO routing_decisions (
        materialization_id, run_id, router, partition, selected_branch, available_branches, rule, predicate,
        error, decided_at
    )
    SELECT
        m.id, p_run, p_router, p_partition, p_selected, p_available, p_rule, p_predicate, p_error,
        clock_timestamp()
    FROM flowstone_materializations m
    WHERE m.id = p_materialization AND m.run_id = p_run
    ON CONFLICT DO NOTHING;

    RETURN QUERY SELECT d.* FROM routing_decisions d WHERE d.materialization_id = p_materialization;
END;
$$;

-- The decision of a router in a run, or nothing.
CREATE FUNCTION routing_get_v1(p_run bigint, p_router text, p_partition text)
    RETURNS SETOF routing_decisions
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
AS $$
    SELECT d.*
    FROM routing_decisions d
    WHERE d.run_id = p_run AND d.router = p_router AND d.partition = p_partition;
$$;

-- Those of these decisions that there are.
CREATE FUNCTION routing_outputs_v1(p_materializations bigint[])
    RETURNS SETOF routing_decisions
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
AS $$
    SELECT d.* FROM routing_decisions d WHERE d.materialization_id = ANY (p_materializations)
    ORDER BY d.materialization_id;
$$;

-- What was decided in a run, in the order of its materializations.
CREATE FUNCTION routing_decisions_v1(p_run bigint)
    RETURNS SETOF routing_decisions
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
AS $$
    SELECT d.* FROM routing_decisions d WHERE d.run_id = p_run ORDER BY d.materialization_id;
$$;
