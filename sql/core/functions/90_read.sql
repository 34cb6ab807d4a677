-- What Python reads. People read the views.

CREATE TYPE flowstone_run_record AS (
    run_id bigint, status text, targets text, options text, created_at timestamptz,
    finished_at timestamptz, counts text, reused_count bigint, retry_of bigint
);

CREATE TYPE flowstone_materialization_record AS (
    id bigint, run_id bigint, asset text, partition text, status text, attempt integer, reason text,
    error text, waiting_on text, is_external boolean, started_at timestamptz, finished_at timestamptz,
    duration_ms integer, whom text[]
);

-- One run.
CREATE FUNCTION flowstone_run_v1(p_run bigint)
    RETURNS SETOF flowstone_run_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT
        r.id, r.status::text, r.targets::text, r.options::text, r.created_at, r.finished_at,
        (
            SELECT coalesce(json_object_agg(c.status, c.count), '{}')::text
            FROM (
                SELECT m.status, count(*)
                FROM flowstone_materializations m
                WHERE m.run_id = r.id AND m.assists IS NULL
                GROUP BY m.status
            ) c
        ),
        (SELECT count(*) FROM flowstone_reused u WHERE u.run_id = r.id),
        r.retry_of
    FROM flowstone_runs r
    WHERE r.id = p_run;
$$;

-- Runs below p_before, newest first; with p_status only those that have it.
CREATE FUNCTION flowstone_runs_v1(p_status text, p_before bigint, p_limit integer)
    RETURNS SETOF flowstone_run_record
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF p_status IS NULL THEN
        RETURN QUERY
        SELECT one.*
        FROM (SELECT r.id FROM flowstone_runs r WHERE r.id < p_before ORDER BY r.id DESC LIMIT p_limit) page
        CROSS JOIN LATERAL flowstone_run_v1(page.id) one
        ORDER BY page.id DESC;
    ELSE
        RETURN QUERY
        SELECT one.*
        FROM (
            SELECT r.id
            FROM flowstone_runs r
            WHERE r.status = p_status::flowstone_run_status AND r.id < p_before
            ORDER BY r.id DESC
            LIMIT p_limit
        ) page
        CROSS JOIN LATERAL flowstone_run_v1(page.id) one
        ORDER BY page.id DESC;
    END IF;
END;
$$;

-- Materializations of a run that is kept, as planned.
CREATE FUNCTION flowstone_materializations_v1(p_run bigint)
    RETURNS SETOF flowstone_materialization_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT
        m.id, m.run_id, m.asset, m.partition, m.status::text, m.attempt, m.reason, m.error::text,
        w.waiting_on, w.is_external, m.started_at, m.finished_at, m.duration_ms, w.whom
    -- OFFSET keeps the planner from reading all there is in the order of ids.
    FROM (
        SELECT * FROM flowstone_materializations
        WHERE run_id = p_run AND NOT outlives_run AND assists IS NULL
        OFFSET 0
    ) m
    LEFT JOIN flowstone_waits w ON w.materialization_id = m.id AND m.status = 'waiting'
    ORDER BY m.id;
$$;

-- How a run stands, and its materializations that have changed since p_since, a mark that an earlier
-- answer gave. One row at least; without an id when nothing has changed.
--
-- The mark is the oldest transaction that was under way: what it and later ones write is new to the
-- next look. So no commit is missed, however long it took, and a row may come twice. Nothing is
-- written for it when a materialization moves.
CREATE FUNCTION flowstone_progress_v1(p_run bigint, p_since text)
    RETURNS TABLE (
        run_status text, created_at timestamptz, run_finished_at timestamptz, mark text, seen_at timestamptz,
        id bigint, run_id bigint, asset text, partition text, status text, attempt integer, reason text,
        error text, waiting_on text, is_external boolean, started_at timestamptz, finished_at timestamptz,
        duration_ms integer, whom text[]
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        r.status::text, r.created_at, r.finished_at, pg_snapshot_xmin(pg_current_snapshot())::text,
        clock_timestamp(), changed.*
    FROM flowstone_runs r
    LEFT JOIN (
        SELECT
            m.id, m.run_id, m.asset, m.partition, m.status::text, m.attempt, m.reason, m.error::text,
            w.waiting_on, w.is_external, m.started_at, m.finished_at, m.duration_ms, w.whom
        FROM flowstone_materializations m
        LEFT JOIN flowstone_waits w ON w.materialization_id = m.id AND m.status = 'waiting'
        WHERE m.run_id = p_run AND m.assists IS NULL AND (p_since IS NULL OR age(m.xmin) <= age(p_since::xid8::xid))
    ) changed ON true
    WHERE r.id = p_run
    ORDER BY changed.id;
$$;

-- Materializations of a key, newest first.
CREATE FUNCTION flowstone_history_v1(p_asset text, p_partition text, p_limit integer)
    RETURNS SETOF flowstone_materialization_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        m.id, m.run_id, m.asset, m.partition, m.status::text, m.attempt, m.reason, m.error::text,
        w.waiting_on, w.is_external, m.started_at, m.finished_at, m.duration_ms, w.whom
    FROM flowstone_materializations m
    LEFT JOIN flowstone_waits w ON w.materialization_id = m.id AND m.status = 'waiting'
    WHERE m.asset = p_asset AND m.partition = p_partition
    ORDER BY -m.id
    LIMIT p_limit;
$$;

-- Small values that the engine holds.
CREATE FUNCTION flowstone_values_v1(p_ids bigint[])
    RETURNS TABLE (materialization_id bigint, value text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT v.materialization_id, v.value::text FROM flowstone_values v WHERE v.materialization_id = ANY (p_ids);
$$;

CREATE FUNCTION flowstone_reused_v1(p_run bigint)
    RETURNS TABLE (materialization_id bigint, asset text, partition text, reason text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT u.materialization_id, m.asset, m.partition, u.reason
    FROM flowstone_reused u
    JOIN flowstone_materializations m ON m.id = u.materialization_id
    WHERE u.run_id = p_run
    ORDER BY u.materialization_id;
$$;

-- Neighbours of a key's current value in the lineage.
CREATE FUNCTION flowstone_lineage_v1(p_asset text, p_partition text)
    RETURNS TABLE (is_upstream boolean, asset text, partition text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT true, u.asset, u.partition
    FROM flowstone_current c
    JOIN flowstone_materializations m ON m.id = c.materialization_id
    CROSS JOIN unnest(m.inputs) AS input(id)
    JOIN flowstone_materializations u ON u.id = input.id
    WHERE c.asset = p_asset AND c.partition = p_partition
    UNION
    SELECT false, d.asset, d.partition
    FROM flowstone_current c
    JOIN flowstone_lineage l ON l.upstream_id = c.materialization_id
    JOIN flowstone_current d ON d.materialization_id = l.materialization_id
    WHERE c.asset = p_asset AND c.partition = p_partition
    ORDER BY 1, 2, 3;
$$;

-- All that a worker owns.
CREATE FUNCTION flowstone_owned_v1(p_worker bigint)
    RETURNS TABLE (id bigint, claim integer)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT m.id, m.claim
    FROM flowstone_materializations m
    WHERE m.id = ANY (flowstone_doing()) AND m.status = 'running' AND m.worker_id = p_worker
    ORDER BY m.id;
$$;

-- Where the values are that a run computed or reused for these keys.
CREATE FUNCTION flowstone_outputs_v1(p_run bigint, p_assets text[], p_partitions text[], p_bytes integer)
    RETURNS TABLE (
        asset text, partition text, materialization_id bigint, io text, location text, value text
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        m.asset, m.partition, m.id, m.io, m.location::text,
        CASE WHEN v.size_bytes <= p_bytes THEN v.value::text END
    FROM (
        SELECT own.id
        FROM unnest(p_assets, p_partitions) AS k(asset, partition)
        JOIN flowstone_materializations own
            ON own.run_id = p_run AND own.asset = k.asset AND own.partition = k.partition
        UNION
        SELECT u.materialization_id
        FROM flowstone_reused u
        JOIN flowstone_materializations reused ON reused.id = u.materialization_id
        JOIN unnest(p_assets, p_partitions) AS k(asset, partition)
            ON k.asset = reused.asset AND k.partition = reused.partition
        WHERE u.run_id = p_run
    ) wanted
    JOIN flowstone_materializations m ON m.id = wanted.id AND m.status = 'succeeded'
    LEFT JOIN flowstone_values v ON v.materialization_id = m.id;
$$;

-- How everything stands that a materialization awaits, in the order of the plan.
CREATE FUNCTION flowstone_awaited_v1(p_id bigint)
    RETURNS TABLE (id bigint, asset text, partition text, status text, error text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT u.id, u.asset, u.partition, u.status::text, u.error::text
    FROM flowstone_materializations m
    CROSS JOIN unnest(m.awaits) WITH ORDINALITY AS awaited(id, place)
    JOIN flowstone_materializations u ON u.id = awaited.id
    WHERE m.id = p_id
    ORDER BY awaited.place;
$$;

-- How everything ended that only came before a materialization: also optional upstreams without a value.
CREATE FUNCTION flowstone_followed_v1(p_id bigint)
    RETURNS TABLE (id bigint, asset text, partition text, status text, error text)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT u.id, u.asset, u.partition, u.status::text, u.error::text
    FROM flowstone_materializations m
    CROSS JOIN unnest(m.follows) WITH ORDINALITY AS followed(id, place)
    JOIN flowstone_materializations u ON u.id = followed.id
    WHERE m.id = p_id
    ORDER BY followed.place;
$$;
