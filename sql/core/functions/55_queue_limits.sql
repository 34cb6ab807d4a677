-- What queues let through: paused ones nothing, limited ones what their limits have room for.
--
-- Only queues that have a row in flowstone_queues come here; a turn finds out with the statement that reads
-- its worker. How many run is counted from jobs that are 'doing', never kept in a counter, so nothing leaks
-- when a worker dies. How many have started is counted from flowstone_rate_uses. Both are exact because
-- whoever counts, and claims, holds the queue's row.

-- What a turn may claim.
CREATE TYPE flowstone_admitted AS (
    queues text[],   -- those with room, beside `slots`
    slots integer[],
    closed text[],   -- those without
    held text[],     -- those whose limits may hold something back, beside `held_ms`
    held_ms bigint[], -- until it may be let go
    keyed text[]     -- those of `queues` that have jobs with keys or lanes
);

-- Lock the rows of the limited queues that a turn may claim from, and return their names. Comes first of all
-- that a turn locks. Paused ones too: one that is resumed before the turn claims would be without limits.
CREATE FUNCTION flowstone_lock_queues(p_queues text[], p_run bigint)
    RETURNS text[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_heads json;
    v_queues text[] := p_queues;
BEGIN
    IF p_run IS NOT NULL THEN
        -- Not flowstone_heads_of_run, which may lock the run. Before the first turn of a run nobody knows
        -- its queues, so that turn takes all.
        SELECT r.heads INTO v_heads FROM flowstone_runs r WHERE r.id = p_run;
        v_queues := CASE WHEN v_heads IS NOT NULL
            THEN ARRAY(SELECT h ->> 'queue' FROM json_array_elements(v_heads) h)
        END;
    END IF;
    RETURN ARRAY(
        SELECT q.name
        FROM flowstone_queues q
        WHERE (q.max_running IS NOT NULL OR q.rate_count IS NOT NULL OR q.has_keys)
            AND (v_queues IS NULL OR q.name = ANY (v_queues))
        ORDER BY q.name
        FOR UPDATE
    );
END;
$$;

-- Whether a queue has a job that is due.
CREATE FUNCTION flowstone_has_due(p_queue text)
    RETURNS boolean
    LANGUAGE sql
AS $$
    SELECT coalesce(
        (
            SELECT true
            FROM procrastinate_jobs j
            WHERE j.status = 'todo'
                AND j.task_name = 'flowstone:materialize'
                AND j.queue_name = p_queue
                AND j.scheduled_at IS NULL
            ORDER BY -j.priority::bigint, j.id
            LIMIT 1
        ),
        (
            SELECT j.scheduled_at <= clock_timestamp()
            FROM procrastinate_jobs j
            WHERE j.status = 'todo'
                AND j.task_name = 'flowstone:materialize'
                AND j.queue_name = p_queue
                AND j.scheduled_at IS NOT NULL
            ORDER BY j.scheduled_at, j.id
            LIMIT 1
        ),
        false
    ) OR EXISTS (
        SELECT
        FROM procrastinate_jobs j
        WHERE j.task_name = 'flowstone:keyed'
            AND j.status = 'todo'
            AND j.queue_name = p_queue
            AND j.scheduled_at IS NULL
    ) OR EXISTS (
        SELECT
        FROM procrastinate_jobs j
        WHERE j.task_name = 'flowstone:keyed'
            AND j.status = 'todo'
            AND j.queue_name = p_queue
            AND j.scheduled_at <= clock_timestamp()
    );
$$;

-- How much of what is offered to the queues they have room for. With p_run, each of its queues is offered
-- all of p_slots[1]. Limits of queues that are not in p_locked were set when this turn had begun, and count
-- from the next one on.
CREATE FUNCTION flowstone_admit(p_queues text[], p_slots integer[], p_run bigint, p_locked text[])
    RETURNS flowstone_admitted
    LANGUAGE plpgsql
AS $$
DECLARE
    v_queues text[] := p_queues;
    v_slots integer[] := p_slots;
    v_queue flowstone_queues;
    v_room integer;
    v_wait_ms bigint;
    v_admitted flowstone_admitted := ('{}', '{}', '{}', '{}', '{}', '{}');
BEGIN
    IF p_run IS NOT NULL THEN
        v_queues := ARRAY(
            SELECT DISTINCT h ->> 'queue' FROM json_array_elements(flowstone_heads_of_run(p_run)) h ORDER BY 1
        );
        v_slots := array_fill(p_slots[1], ARRAY[cardinality(v_queues)]);
    END IF;

    FOR q IN 1 .. cardinality(v_queues) LOOP
        SELECT * INTO v_queue FROM flowstone_queues s WHERE s.name = v_queues[q];
        v_room := v_slots[q];
        v_wait_ms := NULL;
        IF v_queue.paused_at IS NOT NULL THEN
            v_room := 0;
        ELSIF v_queue.name = ANY (p_locked) THEN
            IF v_queue.max_running IS NOT NULL THEN
                v_room := least(v_room, v_queue.max_running - flowstone_running_in(v_queue.name));
                -- Whoever makes room claims it himself, as a rule.
                v_wait_ms := CASE WHEN v_room < v_slots[q] THEN 1000 END;
            END IF;
            IF v_queue.rate_count IS NOT NULL AND v_room > 0 THEN
                v_room := least(v_room, v_queue.rate_count - flowstone_rate_used(v_queue.name, '', v_queue.rate_ms));
                IF v_room < v_slots[q] THEN
                    v_wait_ms := least(v_wait_ms, flowstone_rate_wait(v_queue.name, '', v_queue.rate_ms));
                END IF;
            END IF;
            v_room := greatest(v_room, 0);
        END IF;

        IF v_room > 0 THEN
            v_admitted.queues := v_admitted.queues || v_queues[q];
            v_admitted.slots := v_admitted.slots || v_room;
            IF v_queue.has_keys AND v_queue.name = ANY (p_locked) THEN
                v_admitted.keyed := v_admitted.keyed || v_queues[q];
            END IF;
        ELSE
            v_admitted.closed := v_admitted.closed || v_queues[q];
        END IF;
        IF v_wait_ms IS NOT NULL THEN
            v_admitted.held := v_admitted.held || v_queues[q];
            v_admitted.held_ms := v_admitted.held_ms || v_wait_ms;
        END IF;
    END LOOP;
    RETURN v_admitted;
END;
$$;

-- Not by bitmap: an index scan marks the entries of jobs that run no longer, and the next one passes them over.
CREATE FUNCTION flowstone_running_in(p_queue text)
    RETURNS integer
    LANGUAGE plpgsql
    SET enable_bitmapscan = off
AS $$
BEGIN
    RETURN (
        SELECT count(*)
        -- OFFSET keeps the planner from looking at all that the queue ever had.
        FROM (SELECT j.queue_name FROM procrastinate_jobs j WHERE j.status = 'doing' OFFSET 0) d
        WHERE d.queue_name = p_queue
    );
END;
$$;

-- How many of a key have started within the last period; forgets what was before. Holds the queue's row.
CREATE FUNCTION flowstone_rate_used(p_queue text, p_key text, p_ms bigint)
    RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    v_since timestamptz := clock_timestamp() - p_ms * interval '1 ms';
    v_used integer;
BEGIN
    DELETE FROM flowstone_rate_uses u WHERE u.queue = p_queue AND u.key = p_key AND u.at <= v_since;
    SELECT coalesce(sum(u.count), 0) INTO v_used
    FROM flowstone_rate_uses u
    WHERE u.queue = p_queue AND u.key = p_key;
    RETURN v_used;
END;
$$;

-- Milliseconds until the first start of a key is a period ago.
CREATE FUNCTION flowstone_rate_wait(p_queue text, p_key text, p_ms bigint)
    RETURNS bigint
    LANGUAGE sql
AS $$
    SELECT greatest(1, coalesce(ceil(extract(epoch FROM min(u.at) - clock_timestamp()) * 1000), 0) + p_ms)::bigint
    FROM flowstone_rate_uses u
    WHERE u.queue = p_queue AND u.key = p_key;
$$;

-- Remember these starts where there is a rate limit. Comes after the claims, and rounds up, so that between
-- one start and another that its passing lets in there is never less than the period.
CREATE FUNCTION flowstone_use_rates(p_picked bigint[], p_locked text[])
    RETURNS void
    LANGUAGE sql
AS $$
    INSERT INTO flowstone_rate_uses AS u (queue, key, at, count)
    SELECT
        use.queue,
        use.key,
        to_timestamp(ceil(extract(epoch FROM clock_timestamp()) * 1000 / step.ms) * step.ms / 1000),
        count(*)
    FROM procrastinate_jobs j
    JOIN flowstone_queues q ON q.name = j.queue_name AND q.name = ANY (p_locked)
    CROSS JOIN LATERAL (
        SELECT q.name AS queue, '' AS key, q.rate_ms AS ms WHERE q.rate_count IS NOT NULL
        UNION ALL
        SELECT q.name, j.args ->> 'key', q.rate_per_key_ms
        WHERE q.rate_per_key_count IS NOT NULL AND j.task_name = 'flowstone:keyed' AND j.args ->> 'key' <> ''
    ) use
    CROSS JOIN LATERAL (SELECT greatest(1, use.ms / 1000) AS ms) step
    WHERE j.id = ANY (p_picked) AND j.status = 'doing'
    GROUP BY use.queue, use.key, step.ms
    ON CONFLICT (queue, key, at) DO UPDATE SET count = u.count + excluded.count;

    -- Of keys that nobody has heard of since: more than are written here.
    DELETE FROM flowstone_rate_uses u
    WHERE u.ctid = ANY (ARRAY(
        SELECT old.ctid
        FROM flowstone_queues q
        CROSS JOIN LATERAL (
            SELECT o.ctid
            FROM flowstone_rate_uses o
            WHERE o.queue = q.name
                AND o.key <> ''
                AND o.at <= clock_timestamp() - q.rate_per_key_ms * interval '1 ms'
            ORDER BY o.at
            LIMIT 2 * cardinality(p_picked)
        ) old
        WHERE q.name = ANY (p_locked) AND q.rate_per_key_count IS NOT NULL
    ));
$$;

-- Pick from the queues with room; see flowstone_pick. What a key or a lane holds back is added to p_admitted.
--
-- Where there are both, jobs with a key or a lane have half of the room, and what the others leave.
CREATE FUNCTION flowstone_pick_admitted(
    INOUT p_admitted flowstone_admitted, p_run bigint, p_slots integer, OUT picked bigint[]
)
    LANGUAGE plpgsql
AS $$
DECLARE
    v_keyed record;
    v_others bigint[];
    v_room integer;
    v_kept integer;
BEGIN
    IF p_run IS NOT NULL THEN
        picked := ARRAY(
            SELECT own.id
            FROM (
                SELECT p.id, p.place, j.queue_name, row_number() OVER (PARTITION BY j.queue_name ORDER BY p.place) AS nth
                FROM unnest(flowstone_pick_of_run(p_run, p_slots, p_admitted.closed)) WITH ORDINALITY p(id, place)
                JOIN procrastinate_jobs j ON j.id = p.id
            ) own
            JOIN unnest(p_admitted.queues, p_admitted.slots) room(queue, slots) ON room.queue = own.queue_name
            WHERE own.nth <= room.slots
            ORDER BY own.place
        );
        RETURN;
    ELSIF p_admitted.keyed = '{}' THEN
        picked := flowstone_pick(p_admitted.queues, p_admitted.slots, NULL);
        RETURN;
    END IF;

    picked := '{}';
    FOR q IN 1 .. cardinality(p_admitted.queues) LOOP
        v_room := p_admitted.slots[q];
        IF p_admitted.queues[q] <> ALL (p_admitted.keyed) THEN
            picked := picked || flowstone_pick(p_admitted.queues[q:q], p_admitted.slots[q:q], NULL);
            CONTINUE;
        END IF;
        SELECT * INTO v_keyed FROM flowstone_pick_keyed(p_admitted.queues[q], v_room);
        v_kept := least(cardinality(v_keyed.picked), (v_room + 1) / 2);
        v_others := CASE WHEN v_room > v_kept
            THEN flowstone_pick(p_admitted.queues[q:q], ARRAY[v_room - v_kept], NULL)
            ELSE '{}'
        END;
        picked := picked || v_keyed.picked[1 : v_room - cardinality(v_others)] || v_others;
        IF v_keyed.wait_ms IS NOT NULL THEN
            p_admitted.held := p_admitted.held || p_admitted.queues[q];
            p_admitted.held_ms := p_admitted.held_ms || v_keyed.wait_ms;
        END IF;
    END LOOP;
END;
$$;

-- Milliseconds until limits may let go of what is due and was held back; null: nothing is. Comes after the
-- claims.
CREATE FUNCTION flowstone_next_admission(p_admitted flowstone_admitted)
    RETURNS bigint
    LANGUAGE sql
AS $$
    SELECT min(held.ms)
    FROM unnest(p_admitted.held, p_admitted.held_ms) held(queue, ms)
    WHERE flowstone_has_due(held.queue);
$$;
