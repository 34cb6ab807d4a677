-- Claim jobs that have a limit's key (a tenant), or are in a serial lane.
--
-- They are not in the heads of their queue but in an index of their own, by (key, lane): their task is named
-- otherwise, 'flowstone:keyed', and its arguments carry both, the empty text for none. So wherever such a job
-- is moved to, by whatever and whomever, it is where it belongs, and nothing has to be kept beside it.
--
-- A turn walks over the pairs round robin, from where the last one stopped: a key without room is left with
-- one step, however much of it waits. Who walks holds the queue's lock, so what he counts is exact.

-- The pair (key, lane) that comes next in a queue; no row: there is none.
CREATE FUNCTION flowstone_next_pair(p_queue text, p_key text, p_lane text, p_is_key_done boolean)
    RETURNS TABLE (key text, lane text)
    LANGUAGE plpgsql
AS $$
BEGIN
    IF p_is_key_done THEN
        RETURN QUERY
        SELECT j.args ->> 'key', j.args ->> 'lane'
        FROM procrastinate_jobs j
        WHERE j.task_name = 'flowstone:keyed'
            AND j.status = 'todo'
            AND j.scheduled_at IS NULL
            AND j.queue_name = p_queue
            AND (j.args ->> 'key') > p_key
        ORDER BY j.args ->> 'key', j.args ->> 'lane', -j.priority::bigint, j.id
        LIMIT 1;
    ELSE
        RETURN QUERY
        SELECT j.args ->> 'key', j.args ->> 'lane'
        FROM procrastinate_jobs j
        WHERE j.task_name = 'flowstone:keyed'
            AND j.status = 'todo'
            AND j.scheduled_at IS NULL
            AND j.queue_name = p_queue
            AND (j.args ->> 'key', j.args ->> 'lane') > (p_key, p_lane)
        ORDER BY j.args ->> 'key', j.args ->> 'lane', -j.priority::bigint, j.id
        LIMIT 1;
    END IF;
END;
$$;

-- Lock and return what is next of a pair, at most p_slots beside those that were picked. Of a lane it is the
-- first one or nothing: nobody overtakes him who is locked, or has begun and waits for his retry.
CREATE FUNCTION flowstone_pick_of_pair(
    p_queue text, p_key text, p_lane text, p_slots integer, p_picked bigint[]
)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_first bigint;
BEGIN
    IF p_lane = '' THEN
        RETURN ARRAY(
            SELECT j.id
            FROM procrastinate_jobs j
            WHERE j.task_name = 'flowstone:keyed'
                AND j.status = 'todo'
                AND j.scheduled_at IS NULL
                AND j.queue_name = p_queue
                AND (j.args ->> 'key') = p_key
                AND (j.args ->> 'lane') = ''
                AND j.id <> ALL (p_picked)
            ORDER BY -j.priority::bigint, j.id
            LIMIT p_slots
            FOR UPDATE SKIP LOCKED
        );
    END IF;
    PERFORM
    FROM procrastinate_jobs j
    WHERE j.task_name = 'flowstone:keyed'
        AND j.status = 'todo'
        AND j.scheduled_at IS NOT NULL
        AND j.attempts > 0
        AND j.queue_name = p_queue
        AND (j.args ->> 'lane') = p_lane
    LIMIT 1;
    IF FOUND THEN
        RETURN '{}';
    END IF;
    SELECT j.id INTO v_first
    FROM procrastinate_jobs j
    WHERE j.task_name = 'flowstone:keyed'
        AND j.status = 'todo'
        AND j.scheduled_at IS NULL
        AND j.queue_name = p_queue
        AND (j.args ->> 'key') = p_key
        AND (j.args ->> 'lane') = p_lane
    ORDER BY -j.priority::bigint, j.id
    LIMIT 1;
    RETURN ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.id = v_first AND j.status = 'todo' AND j.scheduled_at IS NULL
        FOR UPDATE SKIP LOCKED
    );
END;
$$;

-- Pick up to p_slots keyed jobs of a queue whose lock is held. wait_ms: when to look again for what is held
-- back; null: nothing is, or it is timed.
CREATE FUNCTION flowstone_pick_keyed(p_queue text, p_slots integer, OUT picked bigint[], OUT wait_ms bigint)
    LANGUAGE plpgsql
    SET enable_bitmapscan = off
AS $$
DECLARE
    v_queue flowstone_queues;
    v_running jsonb;
    v_rooms jsonb := '{}';
    v_lanes text[];
    v_key text;
    v_lane text;
    v_pair record;
    v_is_key_done boolean := false;
    v_has_turned boolean := false;
    v_has_found boolean := false;
    v_room integer;
    v_ids bigint[];
BEGIN
    picked := '{}';
    SELECT * INTO v_queue FROM flowstone_queues q WHERE q.name = p_queue;
    v_key := coalesce(v_queue.key_cursor[1], '');
    v_lane := coalesce(v_queue.key_cursor[2], '');

    -- What was timed and is due takes its place among the others.
    v_ids := ARRAY(
        SELECT t.id
        FROM procrastinate_jobs t
        WHERE t.task_name = 'flowstone:keyed'
            AND t.status = 'todo'
            AND t.scheduled_at IS NOT NULL
            AND t.queue_name = p_queue
            AND t.scheduled_at <= clock_timestamp()
        ORDER BY t.scheduled_at, t.id
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    );
    IF v_ids <> '{}' THEN
        UPDATE procrastinate_jobs j SET scheduled_at = NULL WHERE j.id = ANY (v_ids);
    END IF;

    SELECT
        coalesce(jsonb_object_agg(r.key, r.count) FILTER (WHERE r.key <> ''), '{}'),
        coalesce(array_agg(r.lane) FILTER (WHERE r.lane <> ''), '{}')
    INTO v_running, v_lanes
    FROM (
        SELECT d.args ->> 'key' AS key, d.args ->> 'lane' AS lane,
            sum(count(*)) OVER (PARTITION BY d.args ->> 'key') AS count
        FROM (SELECT j.task_name, j.queue_name, j.args FROM procrastinate_jobs j WHERE j.status = 'doing' OFFSET 0) d
        WHERE d.task_name = 'flowstone:keyed' AND d.queue_name = p_queue
        GROUP BY d.args ->> 'key', d.args ->> 'lane'
    ) r;

    FOR v_visit IN 1 .. 2 * p_slots + 100 LOOP
        EXIT WHEN cardinality(picked) >= p_slots;
        IF v_visit = 2 * p_slots + 100 THEN
            -- A turn has to end; the next one goes on from here.
            wait_ms := least(wait_ms, 200);
            EXIT;
        END IF;
        SELECT * INTO v_pair FROM flowstone_next_pair(p_queue, v_key, v_lane, v_is_key_done);
        IF v_pair.key IS NULL THEN
            -- Once around from the cursor, and on for as long as a round finds anything.
            EXIT WHEN v_has_turned AND NOT v_has_found;
            v_has_turned := true;
            v_has_found := false;
            v_key := '';
            v_lane := '';
            v_is_key_done := false;
            CONTINUE;
        END IF;
        v_key := v_pair.key;
        v_lane := v_pair.lane;
        v_is_key_done := false;

        IF NOT v_rooms ? v_key THEN
            v_room := p_slots;
            IF v_key <> '' AND v_queue.max_running_per_key IS NOT NULL THEN
                v_room := least(v_room, v_queue.max_running_per_key - coalesce((v_running ->> v_key)::integer, 0));
            END IF;
            IF v_room <= 0 THEN
                wait_ms := least(wait_ms, 1000);
            ELSIF v_key <> '' AND v_queue.rate_per_key_count IS NOT NULL THEN
                v_room := least(
                    v_room,
                    v_queue.rate_per_key_count - flowstone_rate_used(p_queue, v_key, v_queue.rate_per_key_ms)
                );
                IF v_room <= 0 THEN
                    wait_ms := least(wait_ms, flowstone_rate_wait(p_queue, v_key, v_queue.rate_per_key_ms));
                END IF;
            END IF;
            v_rooms := v_rooms || jsonb_build_object(v_key, greatest(v_room, 0));
        END IF;
        v_room := (v_rooms ->> v_key)::integer;
        IF v_room <= 0 THEN
            v_is_key_done := true;
            wait_ms := coalesce(wait_ms, 1000);
            CONTINUE;
        END IF;
        IF v_lane = ANY (v_lanes) THEN
            wait_ms := least(wait_ms, 1000);
            CONTINUE;
        END IF;
        v_ids := flowstone_pick_of_pair(
            p_queue, v_key, v_lane,
            least(v_room, p_slots - cardinality(picked), greatest(1, p_slots / 8)), picked
        );
        IF v_ids <> '{}' THEN
            picked := picked || v_ids;
            v_has_found := true;
            v_rooms := v_rooms || jsonb_build_object(v_key, v_room - cardinality(v_ids));
            IF v_lane <> '' THEN
                v_lanes := v_lanes || v_lane;
            END IF;
        END IF;
    END LOOP;
    -- Whoever has the row meanwhile, in a transaction of his own, costs the next turn its fairness and not this one
    -- its time.
    UPDATE flowstone_queues q SET key_cursor = ARRAY[v_key, v_lane]
    WHERE q.name = ANY (ARRAY(
        SELECT s.name
        FROM flowstone_queues s
        WHERE s.name = p_queue AND s.key_cursor IS DISTINCT FROM ARRAY[v_key, v_lane]
        FOR NO KEY UPDATE SKIP LOCKED
    ));
END;
$$;

-- Milliseconds until the next timed keyed job of these queues is due; null: none is timed.
CREATE FUNCTION flowstone_next_keyed_due(p_queues text[])
    RETURNS bigint
    LANGUAGE sql
AS $$
    SELECT greatest(50, ceil(extract(epoch FROM min(first.at) - clock_timestamp()) * 1000))::bigint
    FROM unnest(p_queues) q(name)
    CROSS JOIN LATERAL (
        SELECT j.scheduled_at AS at
        FROM procrastinate_jobs j
        WHERE j.task_name = 'flowstone:keyed'
            AND j.status = 'todo'
            AND j.scheduled_at IS NOT NULL
            AND j.queue_name = q.name
        ORDER BY j.scheduled_at, j.id
        LIMIT 1
    ) first
    HAVING min(first.at) IS NOT NULL;
$$;
