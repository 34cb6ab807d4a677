-- Return those of some hashes that belong to items in a batch of the barrier.
CREATE FUNCTION scatter_known_v1(p_barrier bigint, p_hashes bytea[])
    RETURNS TABLE (key_hash bytea)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT k.key_hash
    FROM unnest(p_hashes) AS h(key_hash)
    JOIN scatter_batched_keys k ON k.materialization_id = p_barrier AND k.key_hash = h.key_hash
$$;
