-- What a process needs to claim from one run alone (app.run), whatever else its queues hold.
--
-- A run may have a hundred thousand materializations, and each turn takes a few; so no turn may read them
-- all. The jobs of a run that can be claimed lie together in their queues' heads, between the run's first
-- id and its last, for each queue and priority that it uses: its heads. The first turn finds them, and
-- leaves them with the run.

-- The heads of a run: [{"queue", "priority", "first", "last"}], with the ids in between. Locks: the run.
CREATE FUNCTION flowstone_heads_of_run(p_run bigint)
    RETURNS json
    LANGUAGE plpgsql
AS $$
DECLARE
    v_heads json;
BEGIN
    SELECT r.heads INTO v_heads FROM flowstone_runs r WHERE r.id = p_run;
    IF v_heads IS NULL THEN
        -- Locked in a statement of its own: one that waited would overwrite, by what it saw before, heads that
        -- were made or widened meanwhile, and nobody would claim what they had covered.
        SELECT r.heads INTO v_heads FROM flowstone_runs r WHERE r.id = p_run FOR NO KEY UPDATE;
    END IF;
    IF v_heads IS NULL THEN
        UPDATE flowstone_runs r
        SET heads = (
            SELECT json_agg(head)
            FROM (
                SELECT m.queue, m.priority, min(m.id) AS first, max(m.id) AS last
                FROM flowstone_materializations m
                WHERE m.run_id = p_run
                GROUP BY m.queue, m.priority
            ) head
        )
        WHERE r.id = p_run
        RETURNING r.heads INTO v_heads;
    END IF;
    RETURN v_heads;
END;
$$;

-- Pick up to p_slots jobs of a run, in other queues than the closed ones; see flowstone_pick.
CREATE FUNCTION flowstone_pick_of_run(p_run bigint, p_slots integer, p_closed text[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_heads json := flowstone_heads_of_run(p_run);
    v_picked bigint[];
    v_peers bigint[];
    v_priority integer;
    v_head record;
BEGIN
    IF p_closed <> '{}' THEN
        v_heads := (
            SELECT json_agg(h) FROM json_array_elements(v_heads) h WHERE h ->> 'queue' <> ALL (p_closed)
        );
    END IF;
    v_picked := ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.status = 'todo'
            AND j.task_name = 'flowstone:materialize'
            AND j.queue_name = ANY (ARRAY(SELECT h ->> 'queue' FROM json_array_elements(v_heads) h))
            AND j.scheduled_at IS NOT NULL
            AND j.scheduled_at <= v_now
            -- Not as a join: that could begin with all of the run.
            AND (SELECT m.run_id FROM flowstone_materializations m WHERE m.id = j.id) = p_run
        ORDER BY j.scheduled_at, j.priority DESC, j.id
        LIMIT p_slots
        FOR UPDATE SKIP LOCKED
    );

    FOR v_priority IN
        SELECT DISTINCT (h ->> 'priority')::integer FROM json_array_elements(v_heads) h ORDER BY 1 DESC
    LOOP
        EXIT WHEN cardinality(v_picked) >= p_slots;
        v_peers := '{}';
        FOR v_head IN
            SELECT h ->> 'queue' AS queue, (h ->> 'first')::bigint AS first, (h ->> 'last')::bigint AS last
            FROM json_array_elements(v_heads) h
            WHERE (h ->> 'priority')::integer = v_priority
            ORDER BY 1
        LOOP
            v_peers := v_peers || ARRAY(
                SELECT j.id
                FROM procrastinate_jobs j
                WHERE j.status = 'todo'
                    AND j.task_name = 'flowstone:materialize'
                    AND j.queue_name = v_head.queue
                    AND j.scheduled_at IS NULL
                    -- As rows, to enter the index at the run's first job and leave it behind the last.
                    AND (-j.priority::bigint, j.id) >= (-v_priority::bigint, v_head.first)
                    AND (-j.priority::bigint, j.id) <= (-v_priority::bigint, v_head.last)
                    AND (SELECT m.run_id FROM flowstone_materializations m WHERE m.id = j.id) = p_run
                ORDER BY -j.priority::bigint, j.id
                LIMIT p_slots - cardinality(v_picked)
                FOR UPDATE SKIP LOCKED
            );
        END LOOP;
        v_picked := v_picked || ARRAY(
            SELECT peer FROM unnest(v_peers) peer ORDER BY peer LIMIT p_slots - cardinality(v_picked)
        );
    END LOOP;
    RETURN v_picked;
END;
$$;
