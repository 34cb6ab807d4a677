-- What a claim brings of the values that a materialization loads: each that fits into an equal share of p_bytes.
-- Plain, so that it is part of the query that asks.
CREATE FUNCTION flowstone_inputs(p_inputs bigint[], p_bytes integer)
    RETURNS TABLE (ids bigint[], assets text[], ios text[], locations text[], contents text[])
    LANGUAGE sql
    STABLE
AS $$
    SELECT
        array_agg(u.id),
        array_agg(u.asset),
        array_agg(u.io),
        array_agg(u.location::text),
        array_agg(CASE WHEN v.size_bytes <= p_bytes / cardinality(p_inputs) THEN v.value::text END)
    FROM unnest(p_inputs) AS input(id)
    JOIN flowstone_materializations u ON u.id = input.id
    LEFT JOIN flowstone_values v ON v.materialization_id = u.id;
$$;
