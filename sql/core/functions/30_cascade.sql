-- Settle what depends on materializations that ended without a value, and return what ended by it.
--
-- Required dependents end with the same cause, transitively; optional ones go on without its value: it
-- only came first. What was held until one of them began ends as a required dependent does.
-- Only pending rows move. Locks: flowstone_materializations, wave by wave.
CREATE FUNCTION flowstone_cascade(p_ids bigint[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_wave bigint[] := p_ids;
    v_ended bigint[] := '{}';
BEGIN
    WHILE cardinality(v_wave) > 0 LOOP
        WITH missing AS (
            SELECT m.id, unnest(m.optional_dependents) AS dependent
            FROM flowstone_materializations m
            WHERE m.id = ANY (v_wave)
        ),
        lost AS MATERIALIZED (
            SELECT dependent, count(*) AS edges, array_agg(id) AS upstreams
            FROM missing
            GROUP BY dependent
            ORDER BY dependent
        ),
        freed AS (
            UPDATE flowstone_materializations m
            SET unmet = m.unmet - lost.edges,
                status = CASE WHEN m.unmet = lost.edges THEN 'ready' ELSE m.status END,
                inputs = ARRAY(SELECT i FROM unnest(m.inputs) i WHERE i <> ALL (lost.upstreams)),
                follows = m.follows || lost.upstreams
            FROM lost
            WHERE m.id = lost.dependent AND m.status = 'pending'
            RETURNING m.id, m.run_id, m.asset, m.partition, m.queue, m.priority, m.unmet
        )
        INSERT INTO procrastinate_jobs (id, queue_name, task_name, priority, args)
        SELECT
            f.id, f.queue, 'flowstone:materialize', f.priority,
            jsonb_build_object('run_id', f.run_id, 'asset', f.asset, 'partition', f.partition)
        FROM freed f
        WHERE f.unmet = 0;

        WITH lost AS MATERIALIZED (
            SELECT DISTINCT ON (edge.dependent)
                edge.dependent,
                upstream.asset AS upstream,
                upstream.status::text AS upstream_status,
                CASE
                    WHEN upstream.status IN ('failed', 'upstream_failed')
                        THEN 'upstream_failed'::flowstone_status
                    ELSE upstream.status
                END AS status
            FROM flowstone_materializations upstream
            CROSS JOIN unnest(upstream.dependents || upstream.starts) AS edge(dependent)
            WHERE upstream.id = ANY (v_wave)
            ORDER BY edge.dependent, upstream.status <> 'failed', upstream.status <> 'upstream_failed',
                upstream.status <> 'cancelled'
        ),
        ended AS (
            UPDATE flowstone_materializations m
            SET status = lost.status,
                finished_at = clock_timestamp(),
                error = json_build_object(
                    'code', 'dependency_failed',
                    'message', 'upstream ' || lost.upstream || ' ' || replace(lost.upstream_status, '_', ' '),
                    'upstream', lost.upstream
                )
            FROM lost
            WHERE m.id = lost.dependent AND m.status = 'pending'
            RETURNING m.id
        )
        SELECT coalesce(array_agg(ended.id ORDER BY ended.id), '{}') INTO v_wave FROM ended;

        v_ended := v_ended || v_wave;
    END LOOP;
    RETURN v_ended;
END;
$$;
