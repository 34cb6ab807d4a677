"""A value is what the attempt that counts returned, made from what its lineage says."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "who succeeded has one value, and nobody else has any",
        """
        SELECT m.id, m.asset, m.status::text, v.size_bytes, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        FULL JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE (m.status IS NOT DISTINCT FROM 'succeeded') <> (v.materialization_id IS NOT NULL)
        """,
    ),
    Invariant(
        "a value is what the attempt that counts returned",
        """
        SELECT
            m.id, m.asset, m.attempt, v.value ->> 'token' AS token,
            v.value ->> 'attempt' AS returned_by, s.attempt AS started_as, s.outcome,
            s.materialization_id AS started_for, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        LEFT JOIN chaos.starts s ON s.token = v.value ->> 'token'
        -- A router's value is its decision.
        WHERE m.asset <> 'branched.kind' AND (
            (s.materialization_id, s.outcome, s.attempt)
                IS DISTINCT FROM (m.id, 'value', (v.value ->> 'attempt')::integer)
            -- What was held for approval may be stored by a later attempt.
            OR m.asset NOT LIKE 'approved.%' AND s.attempt <> m.attempt
        )
        """,
    ),
    Invariant(
        "a value is made from the values of its inputs",
        """
        SELECT m.id, m.asset, m.inputs, said.tokens AS said, stored.tokens AS stored,
            m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        CROSS JOIN LATERAL (
            SELECT array_agg(token ORDER BY token) AS tokens
            FROM json_array_elements_text(v.value -> 'inputs') AS token
        ) said
        CROSS JOIN LATERAL (
            SELECT array_agg(u.value ->> 'token' ORDER BY u.value ->> 'token')
                FILTER (WHERE u.value -> 'selected_branch' IS NULL) AS tokens
            FROM unnest(m.inputs) AS input(id)
            LEFT JOIN flowstone.flowstone_values u ON u.materialization_id = input.id
            WHERE NOT EXISTS (
                -- It was given up, or too late, and has succeeded all the same.
                SELECT FROM flowstone.parallel_branches b
                WHERE b.materialization_id = m.id AND b.branch_materialization_id = input.id
                    AND (b.status = 'skipped' OR b.error ->> 'code' = 'timeout')
            )
        ) stored
        WHERE m.asset <> 'branched.kind' AND said.tokens IS DISTINCT FROM stored.tokens
        """,
    ),
    Invariant(
        "inputs succeeded, and are of the same partition",
        """
        SELECT m.id, m.asset, m.partition, u.id AS input, u.asset AS input_asset, u.status::text,
            u.partition AS input_partition, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        CROSS JOIN unnest(m.inputs) AS input(id)
        LEFT JOIN flowstone.flowstone_materializations u ON u.id = input.id
        WHERE m.status = 'succeeded' AND (
            u.id IS NULL OR u.status <> 'succeeded' OR u.partition <> m.partition
        )
        """,
    ),
    Invariant(
        "lineage is the inputs of what succeeded",
        """
        SELECT m.id, m.asset, m.status::text, m.inputs, l.upstreams, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        FULL JOIN (
            SELECT l.materialization_id AS id, array_agg(l.upstream_id ORDER BY l.upstream_id)
                AS upstreams
            FROM flowstone.flowstone_lineage l
            GROUP BY 1
        ) l USING (id)
        WHERE coalesce(l.upstreams, '{}') IS DISTINCT FROM CASE
            WHEN m.status = 'succeeded' THEN ARRAY(SELECT i FROM unnest(m.inputs) i ORDER BY i)
            ELSE '{}'
        END
        """,
    ),
    Invariant(
        "who was woken was woken by somebody, or his time was up",
        """
        SELECT m.id, m.asset, v.value -> 'payload' AS payload, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        JOIN flowstone.flowstone_values v ON v.materialization_id = m.id
        WHERE m.asset ~ '_(waiting|expiring)$' AND NOT CASE
            WHEN (v.value -> 'payload' ->> 'timed_out')::boolean THEN m.asset LIKE '%expiring'
            ELSE EXISTS (
                SELECT FROM chaos.wakes w
                WHERE w.materialization_id = m.id AND w.payload = v.value -> 'payload' ->> 'payload'
            )
        END
        """,
    ),
)
