-- Materializations that wait for others themselves: they begin first, and are woken by whoever ends the others.
--
-- Which await which is part of the plan (awaits, awaited_by); what a wait ends by is part of the wait
-- (flowstone_waits.all_ended, any_lost). Nothing is counted and nothing is registered, so that a look at the rows
-- decides, however often and late it is taken. It is taken twice: when the wait begins, and when one of the awaited
-- ends. Both hold the job of the one that waits, so of two at the same time the second sees the first.

CREATE FUNCTION flowstone_is_terminal(p_status flowstone_status)
    RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT p_status IN ('succeeded', 'failed', 'skipped', 'cancelled', 'upstream_failed');
$$;

-- Of these waits, those that have come to their end by themselves.
CREATE FUNCTION flowstone_met(p_ids bigint[])
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN ARRAY(
        SELECT w.materialization_id
        FROM flowstone_waits w
        WHERE w.materialization_id = ANY (p_ids)
            AND w.all_ended IS NOT NULL
            AND (
                NOT EXISTS (
                    SELECT FROM flowstone_materializations m
                    WHERE m.id = ANY (w.all_ended) AND NOT flowstone_is_terminal(m.status)
                )
                OR EXISTS (
                    SELECT FROM flowstone_materializations m
                    WHERE m.id = ANY (w.any_lost) AND flowstone_is_terminal(m.status) AND m.status <> 'succeeded'
                )
            )
    );
END;
$$;

-- Tell those that await these materializations, which have just ended, and wake whose wait ends by it.
--
-- Called by whoever ends materializations, in its transaction, before it takes them off their runs' counters; not by
-- who cancels a run, and with it those that await. Locks:
-- jobs and materializations of those that await; an awaited one that runs has a lower id and its job was taken before.
CREATE FUNCTION flowstone_tell_awaiting(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_awaiting bigint[];
    v_met bigint[];
BEGIN
    v_awaiting := ARRAY(
        SELECT DISTINCT awaiting.id
        FROM flowstone_materializations m
        CROSS JOIN unnest(m.awaited_by) AS awaiting(id)
        WHERE m.id = ANY (p_ids)
        ORDER BY awaiting.id
    );
    IF v_awaiting = '{}' THEN
        RETURN;
    END IF;
    PERFORM FROM procrastinate_jobs j WHERE j.id = ANY (v_awaiting) ORDER BY j.id FOR UPDATE;
    -- One that has not begun has no job yet, and may begin before this transaction is seen.
    PERFORM FROM flowstone_materializations m
    WHERE m.id = ANY (v_awaiting) AND m.status IN ('pending', 'waiting')
    ORDER BY m.id
    FOR UPDATE;

    v_met := flowstone_met(ARRAY(
        SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (v_awaiting) AND m.status = 'waiting'
    ));
    IF v_met <> '{}' THEN
        UPDATE flowstone_waits w SET woken_at = clock_timestamp(), payload = NULL
        WHERE w.materialization_id = ANY (v_met);
        UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_met) AND j.status::text = 'todo';
        UPDATE flowstone_materializations m SET status = 'ready' WHERE m.id = ANY (v_met);
        PERFORM flowstone_notify_queues(v_met);
        PERFORM flowstone_notify_runs(ARRAY(
            SELECT DISTINCT m.run_id FROM flowstone_materializations m WHERE m.id = ANY (v_met)
        ));
    END IF;
END;
$$;

-- These ids, and of what a materialization awaits those that have ended: with a value, or without one.
CREATE FUNCTION flowstone_with_arrived(p_ids bigint[], p_awaits bigint[], p_succeeded boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN p_ids || ARRAY(
        SELECT awaited.id
        FROM unnest(p_awaits) WITH ORDINALITY AS awaited(id, place)
        JOIN flowstone_materializations m ON m.id = awaited.id
        WHERE flowstone_is_terminal(m.status)
            AND (m.status = 'succeeded') = p_succeeded
            AND awaited.id <> ALL (p_ids)
        ORDER BY awaited.place
    );
END;
$$;
