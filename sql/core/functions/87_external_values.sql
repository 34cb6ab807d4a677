-- Values that IO managers hold: what a sweep has to know of them.

-- What tells this store from others that keep values in the same place: this server's data, this
-- database, this schema. A dump that is restored elsewhere is another store.
CREATE FUNCTION flowstone_origin_v1()
    RETURNS text
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT left(md5(concat_ws('.', s.system_identifier, d.oid, current_schema()::regnamespace::oid)), 10)
    FROM pg_control_system() s, pg_database d
    WHERE d.datname = current_database();
$$;

-- Which attempts, by (materialization, claim), may have a value that counts: those that run, and those
-- that succeeded with a location. An id that was never given out is of another timeline, and left alone.
--
-- Whoever asks has seen what the attempt wrote, so its claim is committed and seen here; and a claim that
-- has ended never comes back. So what is not returned will not count at any later time either.
CREATE FUNCTION flowstone_kept_v1(p_ids bigint[], p_claims integer[])
    RETURNS TABLE (id bigint, claim integer)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
AS $$
    SELECT k.id, k.claim
    FROM unnest(p_ids, p_claims) AS k(id, claim)
    LEFT JOIN flowstone_materializations m ON m.id = k.id
    WHERE (m.claim = k.claim AND (m.status = 'running' OR (m.status = 'succeeded' AND m.location IS NOT NULL)))
        OR (m.id IS NULL AND k.id > coalesce(
            pg_sequence_last_value(pg_get_serial_sequence('procrastinate_jobs', 'id')::regclass), 0
        ));
$$;
