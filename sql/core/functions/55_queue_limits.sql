-- What queues let through: paused ones nothing, limited ones what their limits have room for.
--
-- Only queues that have a row in flowstone_queues come here; a turn finds out with the statement that reads
-- its worker. How many run is counted from jobs that are 'doing', never kept in a counter, so nothing leaks
-- when a worker dies. How many have started is counted from flowstone_rate_uses. Both are exact because
-- whoever counts, and claims, holds the queue's lock: an advisory one, until his commit.
--
-- A turn takes these locks when it has settled, so that workers settle side by side, and only claim one after
-- the other. It waits for them while it holds all that it has settled, and so not for long: then it goes
-- without what it did not get, and commits. Whoever waits for something of its that way waits no longer either,
-- whatever he holds himself: there is no deadlock for which a turn that waits for a queue would have to be undone.

-- What a turn may claim.
CREATE TYPE flowstone_admitted AS (
    queues text[],   -- those with room, beside `slots`
    slots integer[],
    closed text[],   -- those without
    held text[],     -- those whose limits may hold something back, beside `held_ms`
    held_ms bigint[], -- until it may be let go
    keyed text[]     -- those of `queues` that have jobs with keys or lanes
);

-- The advisory lock of a queue. Queues are locked in the order of these numbers.
CREATE FUNCTION flowstone_queue_lock(p_queue text)
    RETURNS bigint
    LANGUAGE sql
    STABLE
AS $$
    SELECT hashtextextended('flowstone queue ' || current_schema() || ' ' || p_queue, 0);
$$;

-- Wait for the lock of a queue, less long than until Postgres looks for deadlocks; false: it was not to be had.
CREATE FUNCTION flowstone_wait_for_queue(p_lock bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    SET lock_timeout = '500ms'
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(p_lock);
    RETURN true;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    RETURN false;
END;
$$;

-- Lock the limited queues that a turn may claim from, and return the names of those that it has got. Paused ones
-- too: one that is resumed before the turn claims would be closed to it. With p_run: locks the run, before them.
CREATE FUNCTION flowstone_lock_queues(p_queues text[], p_run bigint)
    RETURNS text[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_queues text[] := p_queues;
    v_queue record;
    v_locked text[] := '{}';
BEGIN
    IF p_run IS NOT NULL THEN
        v_queues := ARRAY(SELECT h ->> 'queue' FROM json_array_elements(flowstone_heads_of_run(p_run)) h);
    END IF;
    FOR v_queue IN
        SELECT q.name, flowstone_queue_lock(q.name) AS lock
        FROM flowstone_queues q
        WHERE (q.max_running IS NOT NULL OR q.rate_count IS NOT NULL OR q.has_keys)
            AND q.name = ANY (v_queues)
        ORDER BY lock
    LOOP
        IF pg_try_advisory_xact_lock(v_queue.lock) OR flowstone_wait_for_queue(v_queue.lock) THEN
            v_locked := v_locked || v_queue.name;
        END IF;
    END LOOP;
    RETURN v_locked;
END;
$$;

-- Whether a queue has a job that is due.
CREATE FUNCTION flowstone_has_due(p_queue text)
    RETURNS boolean
    LANGUAGE plpgsql
AS $$
DECLARE
    v_due timestamptz;
BEGIN
    PERFORM
    FROM procrastinate_jobs j
    WHERE j.status = 'todo'
        AND j.task_name = 'flowstone:materialize'
        AND j.queue_name = p_queue
        AND j.scheduled_at IS NULL
    ORDER BY -j.priority::bigint, j.id
    LIMIT 1;
    IF FOUND THEN
        RETURN true;
    END IF;
    SELECT j.scheduled_at INTO v_due
    FROM procrastinate_jobs j
    WHERE j.status = 'todo'
        AND j.task_name = 'flowstone:materialize'
        AND j.queue_name = p_queue
        AND j.scheduled_at IS NOT NULL
    ORDER BY j.scheduled_at, j.id
    LIMIT 1;
    RETURN coalesce(v_due <= clock_timestamp(), false) OR EXISTS (
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
END;
$$;

-- How much of what is offered to the queues they have room for. With p_run, each of its queues is offered
-- all of p_slots[1]. A queue with limits that is not in p_locked has no room: somebody else holds its lock, or its
-- limits are newer than this turn's locks. Nor have its jobs with keys, then.
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
        ELSIF v_queue.name <> ALL (p_locked) THEN
            IF v_queue.max_running IS NOT NULL OR v_queue.rate_count IS NOT NULL THEN
                v_room := 0;
                v_wait_ms := 100;
            ELSIF v_queue.has_keys THEN
                v_wait_ms := 100;
            END IF;
        ELSIF v_queue.name IS NOT NULL THEN
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

-- How many of a key have started within the last period; forgets what was before. Holds the queue's lock.
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

-- The time that a start counts from, rounded up to a thousandth of the period: so between one start and another
-- that its passing lets in there is never less than the period.
CREATE FUNCTION flowstone_rate_step(p_ms bigint)
    RETURNS timestamptz
    LANGUAGE sql
AS $$
    SELECT to_timestamp(
        ceil(extract(epoch FROM clock_timestamp()) * 1000 / greatest(1, p_ms / 1000)) * greatest(1, p_ms / 1000) / 1000
    );
$$;

-- Remember these starts, of jobs and their queues in parallel arrays, where there is a rate limit. Comes after the
-- claims.
CREATE FUNCTION flowstone_use_rates(p_taken bigint[], p_queues text[], p_locked text[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO flowstone_rate_uses AS u (queue, key, at, count)
    SELECT q.name, '', flowstone_rate_step(q.rate_ms), taken.count
    FROM (
        SELECT t.queue, count(*) FROM unnest(p_queues) AS t(queue) GROUP BY t.queue
    ) taken
    JOIN flowstone_queues q ON q.name = taken.queue
    WHERE q.rate_count IS NOT NULL AND q.name = ANY (p_locked)
    ON CONFLICT (queue, key, at) DO UPDATE SET count = u.count + excluded.count;

    PERFORM FROM flowstone_queues q WHERE q.rate_per_key_count IS NOT NULL AND q.name = ANY (p_locked);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO flowstone_rate_uses AS u (queue, key, at, count)
    SELECT q.name, j.args ->> 'key', flowstone_rate_step(q.rate_per_key_ms), count(*)
    FROM procrastinate_jobs j
    JOIN flowstone_queues q ON q.name = j.queue_name
    WHERE j.id = ANY (p_taken)
        AND j.task_name = 'flowstone:keyed'
        AND j.args ->> 'key' <> ''
        AND q.rate_per_key_count IS NOT NULL
        AND q.name = ANY (p_locked)
    GROUP BY q.name, j.args ->> 'key', q.rate_per_key_ms
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
            LIMIT 2 * cardinality(p_taken)
        ) old
        WHERE q.name = ANY (p_locked) AND q.rate_per_key_count IS NOT NULL
    ));
END;
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
    LANGUAGE plpgsql
AS $$
DECLARE
    v_ms bigint;
BEGIN
    FOR q IN 1 .. cardinality(p_admitted.held) LOOP
        IF (v_ms IS NULL OR p_admitted.held_ms[q] < v_ms) AND flowstone_has_due(p_admitted.held[q]) THEN
            v_ms := p_admitted.held_ms[q];
        END IF;
    END LOOP;
    RETURN v_ms;
END;
$$;
