-- Which jobs an operator means.

-- What is null was not said. Ages are milliseconds since the end, or since the enqueueing of what has not ended.
CREATE TYPE flowstone_job_selection AS (
    ids bigint[], name text, queue text, statuses text[], older_ms bigint, newer_ms bigint
);

-- The ids of jobs that are meant, newest first, below p_before, at most p_limit; and where to go on, null at
-- the end.
--
-- It looks at windows of rows, each twice as large as the last, at 5,000 rows in all or at p_limit if that is
-- more: what is rare in a large history is found by several calls, each of them short. Nothing is indexed by
-- what changes with a job, as that would cost every job; but what is open is found among open jobs, and a name
-- by its index.
CREATE FUNCTION flowstone_select_jobs(
    p_selection flowstone_job_selection, p_before bigint, p_limit integer,
    OUT ids bigint[], OUT next_before bigint
)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_before bigint := coalesce(p_before, 9223372036854775807);
    v_left integer := greatest(p_limit, 5000);
    v_window integer := p_limit;
    v_page bigint[];
BEGIN
    ids := '{}';
    LOOP
        v_page := flowstone_jobs_below(p_selection, v_before, v_window);
        ids := ids || ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.id = ANY (v_page)
                AND m.run_id IS NULL
                AND (p_selection.name IS NULL OR m.asset = p_selection.name)
                AND (p_selection.queue IS NULL OR m.queue = p_selection.queue)
                AND (p_selection.statuses IS NULL OR m.status::text = ANY (p_selection.statuses))
                AND (
                    p_selection.older_ms IS NULL
                    OR coalesce(m.finished_at, m.enqueued_at) + p_selection.older_ms * interval '1 ms'
                        <= clock_timestamp()
                )
                AND (
                    p_selection.newer_ms IS NULL
                    OR coalesce(m.finished_at, m.enqueued_at) + p_selection.newer_ms * interval '1 ms'
                        > clock_timestamp()
                )
            ORDER BY m.id DESC
            LIMIT p_limit - cardinality(ids)
        );
        IF cardinality(ids) = p_limit THEN
            next_before := ids[p_limit];
            RETURN;
        ELSIF cardinality(v_page) < v_window THEN
            RETURN;
        END IF;
        v_before := v_page[v_window];
        v_left := v_left - v_window;
        IF v_left <= 0 THEN
            next_before := v_before;
            RETURN;
        END IF;
        v_window := least(2 * v_window, v_left);
    END LOOP;
END;
$$;

-- The next p_limit ids below p_before among which those that are meant have to be looked for, newest first.
CREATE FUNCTION flowstone_jobs_below(p_selection flowstone_job_selection, p_before bigint, p_limit integer)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
BEGIN
    IF p_selection.ids IS NOT NULL THEN
        RETURN ARRAY(
            SELECT DISTINCT given.id FROM unnest(p_selection.ids) AS given(id) WHERE given.id < p_before
            ORDER BY given.id DESC
            LIMIT p_limit
        );
    ELSIF p_selection.statuses <@ '{ready,waiting,running}' THEN
        RETURN ARRAY(
            SELECT j.id
            FROM procrastinate_jobs j
            WHERE j.status IN ('todo', 'doing') AND j.task_name IN ('flowstone:materialize', 'flowstone:keyed') AND j.id < p_before
            ORDER BY j.id DESC
            LIMIT p_limit
        );
    ELSIF p_selection.name IS NOT NULL THEN
        RETURN ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.asset = p_selection.name AND m.partition = '' AND -m.id > -p_before
            ORDER BY -m.id
            LIMIT p_limit
        );
    END IF;
    RETURN ARRAY(
        SELECT m.id FROM flowstone_materializations m WHERE m.id < p_before ORDER BY m.id DESC LIMIT p_limit
    );
END;
$$;

-- The jobs that are meant, newest first. One row at least, whose next_before says where to go on.
CREATE FUNCTION flowstone_find_jobs_v1(
    p_ids bigint[], p_name text, p_queue text, p_statuses text[], p_older_ms bigint, p_newer_ms bigint,
    p_before bigint, p_limit integer
)
    RETURNS TABLE (
        next_before bigint, id bigint, name text, status text, queue text, priority integer, attempt integer,
        arguments text, value text, error text, waiting_on text, not_before timestamptz,
        enqueued_at timestamptz, started_at timestamptz, finished_at timestamptz, duration_ms integer,
        schedule text, tick_at timestamptz
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT page.next_before, job.*
    FROM flowstone_select_jobs(
        (p_ids, p_name, p_queue, p_statuses, p_older_ms, p_newer_ms)::flowstone_job_selection, p_before, p_limit
    ) page
    LEFT JOIN LATERAL flowstone_jobs_v1(page.ids) job ON true
    ORDER BY job.id DESC;
$$;
