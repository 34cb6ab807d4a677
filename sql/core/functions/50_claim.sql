-- Claim what is next for a worker: mark it as its own and bring its inputs.
--
-- p_queues, p_slots: free slots by queue, in parallel arrays. With p_run, claims come from that run only,
-- whatever their queue, and p_slots[1] says how many. Ids are picked first, from the two heads of each
-- queue, and rows second: the cost depends on the slots alone, not on what else is in the table.
-- Timed jobs that are due come first: they have waited for their time already. As there may be very many at one
-- moment (deadlines, retries), they leave some of several slots to the others: one of two, then one in four.
--
-- Locks: the jobs it takes (others are skipped, never waited for), then their materializations.
CREATE FUNCTION flowstone_pick(p_queues text[], p_slots integer[], p_run bigint)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_picked bigint[] := '{}';
    v_ids bigint[];
    v_free integer;
    v_left integer;
BEGIN
    IF p_run IS NOT NULL THEN
        RETURN flowstone_pick_of_run(p_run, p_slots[1], '{}');
    END IF;

    FOR q IN 1 .. cardinality(p_queues) LOOP
        v_free := p_slots[q];
        v_left := (v_free + 2) / 4;
        v_ids := ARRAY(
            SELECT j.id
            FROM procrastinate_jobs j
            WHERE j.status = 'todo'
                AND j.task_name = 'flowstone:materialize'
                AND j.queue_name = p_queues[q]
                AND j.scheduled_at IS NOT NULL
                AND j.scheduled_at <= v_now
            ORDER BY j.scheduled_at, j.id
            LIMIT v_free - v_left
            FOR UPDATE SKIP LOCKED
        );
        v_picked := v_picked || v_ids;
        v_free := v_free - cardinality(v_ids);
        IF v_free > 0 THEN
            v_ids := ARRAY(
                SELECT j.id
                FROM procrastinate_jobs j
                WHERE j.status = 'todo'
                    AND j.task_name = 'flowstone:materialize'
                    AND j.queue_name = p_queues[q]
                    AND j.scheduled_at IS NULL
                ORDER BY -j.priority::bigint, j.id
                LIMIT v_free
                FOR UPDATE SKIP LOCKED
            );
            v_picked := v_picked || v_ids;
        END IF;
        -- Only then can there be more that is timed.
        IF v_free = v_left AND cardinality(v_ids) < v_left THEN
            v_picked := v_picked || ARRAY(
                SELECT j.id
                FROM procrastinate_jobs j
                WHERE j.status = 'todo'
                    AND j.task_name = 'flowstone:materialize'
                    AND j.queue_name = p_queues[q]
                    AND j.scheduled_at IS NOT NULL
                    AND j.scheduled_at <= v_now
                    AND j.id <> ALL (v_picked)
                ORDER BY j.scheduled_at, j.id
                LIMIT v_left - cardinality(v_ids)
                FOR UPDATE SKIP LOCKED
            );
        END IF;
    END LOOP;
    RETURN v_picked;
END;
$$;

-- Milliseconds until the next timed job of these queues (or of this run) falls due; null: none is timed.
CREATE FUNCTION flowstone_next_due(p_queues text[], p_run bigint)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_due timestamptz;
    v_first timestamptz;
BEGIN
    IF p_run IS NOT NULL THEN
        SELECT min(j.scheduled_at) INTO v_first
        FROM (
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.run_id = p_run AND m.status IN ('ready', 'waiting')
            OFFSET 0
        ) m
        JOIN procrastinate_jobs j ON j.id = m.id
        WHERE j.status = 'todo';
    ELSE
        FOR q IN 1 .. cardinality(p_queues) LOOP
            SELECT j.scheduled_at INTO v_due
            FROM procrastinate_jobs j
            WHERE j.status = 'todo'
                AND j.task_name = 'flowstone:materialize'
                AND j.queue_name = p_queues[q]
                AND j.scheduled_at IS NOT NULL
            ORDER BY j.scheduled_at, j.id
            LIMIT 1;
            v_first := least(v_first, v_due);
            v_due := NULL;
        END LOOP;
    END IF;
    IF v_first < '9999-01-01 00:00:00+00' THEN
        RETURN greatest(0, ceil(extract(epoch FROM v_first - clock_timestamp()) * 1000));
    END IF;
    RETURN NULL;
END;
$$;
