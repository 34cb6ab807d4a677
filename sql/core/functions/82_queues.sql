-- What is said about queues at run time: paused, limited, scaled. Workers hear of it at once, on our channel.
--
-- Who pauses or limits a queue locks it, and waits for the turns that have its lock; then he changes its row. So
-- from his commit on a paused queue hands out nothing, and a limit counts; a queue that had no limit until then may
-- have a turn under way. Locks: the queues, then their rows by name.

CREATE FUNCTION flowstone_hold_queues(p_queues text[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(q.lock)
    FROM (SELECT DISTINCT flowstone_queue_lock(name) AS lock FROM unnest(p_queues) name ORDER BY lock) q;
END;
$$;

-- Tell all workers that settings have changed. A row that says nothing any longer goes, so that the queue
-- costs nothing again.
CREATE FUNCTION flowstone_queues_changed(p_queue text)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM flowstone_queues q
    WHERE q.name = p_queue AND q.paused_at IS NULL AND q.slots IS NULL AND q.limits_from IS NULL
        AND NOT q.has_keys;
    PERFORM pg_notify('flowstone#' || current_schema(), '{"queues": true}');
END;
$$;

-- Bring starts that are remembered back to where the rates of now would have noted them: a period of a day notes
-- one up to a minute and a half ahead, which a rate per second would wait for. The queue's lock is held.
CREATE FUNCTION flowstone_bring_back_uses(p_queue text)
    RETURNS void
    LANGUAGE sql
AS $$
    WITH step AS MATERIALIZED (
        SELECT flowstone_rate_step(q.rate_ms) AS in_all, flowstone_rate_step(q.rate_per_key_ms) AS per_key
        FROM flowstone_queues q
        WHERE q.name = p_queue
    ),
    ahead AS (
        DELETE FROM flowstone_rate_uses u
        USING step
        WHERE u.queue = p_queue AND u.at > CASE WHEN u.key = '' THEN step.in_all ELSE step.per_key END
        RETURNING u.key, u.count
    )
    INSERT INTO flowstone_rate_uses AS u (queue, key, at, count)
    SELECT p_queue, a.key, CASE WHEN a.key = '' THEN step.in_all ELSE step.per_key END, sum(a.count)
    FROM ahead a
    CROSS JOIN step
    GROUP BY a.key, step.in_all, step.per_key
    ON CONFLICT (queue, key, at) DO UPDATE SET count = u.count + excluded.count;
$$;

CREATE FUNCTION flowstone_pause_queue_v1(p_queue text, p_is_paused boolean)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM flowstone_hold_queues(ARRAY[p_queue]);
    IF p_is_paused THEN
        INSERT INTO flowstone_queues AS q (name, paused_at) VALUES (p_queue, clock_timestamp())
        ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(q.paused_at, excluded.paused_at);
    ELSE
        UPDATE flowstone_queues q SET paused_at = NULL WHERE q.name = p_queue;
    END IF;
    PERFORM flowstone_queues_changed(p_queue);
END;
$$;

-- Change limits: p_changes has those to set by column (null removes one); what is not in it stays. They are
-- "by hand" from then on, and code does not touch them. Null instead of changes gives them back to code.
CREATE FUNCTION flowstone_limit_queue_v1(p_queue text, p_changes json)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_changes jsonb := p_changes;
BEGIN
    PERFORM flowstone_hold_queues(ARRAY[p_queue]);
    IF v_changes IS NULL THEN
        UPDATE flowstone_queues q
        SET max_running = NULL, rate_count = NULL, rate_ms = NULL, max_running_per_key = NULL,
            rate_per_key_count = NULL, rate_per_key_ms = NULL, limits_from = NULL
        WHERE q.name = p_queue;
    ELSE
        INSERT INTO flowstone_queues AS q (
            name, max_running, rate_count, rate_ms, max_running_per_key, rate_per_key_count, rate_per_key_ms,
            limits_from
        )
        SELECT
            p_queue, c.max_running, c.rate_count, c.rate_ms, c.max_running_per_key, c.rate_per_key_count,
            c.rate_per_key_ms, 'hand'
        FROM jsonb_to_record(v_changes) AS c(
            max_running integer, rate_count integer, rate_ms bigint, max_running_per_key integer,
            rate_per_key_count integer, rate_per_key_ms bigint
        )
        ON CONFLICT (name) DO UPDATE
        SET max_running = CASE WHEN v_changes ? 'max_running' THEN excluded.max_running ELSE q.max_running END,
            rate_count = CASE WHEN v_changes ? 'rate_count' THEN excluded.rate_count ELSE q.rate_count END,
            rate_ms = CASE WHEN v_changes ? 'rate_ms' THEN excluded.rate_ms ELSE q.rate_ms END,
            max_running_per_key = CASE WHEN v_changes ? 'max_running_per_key'
                THEN excluded.max_running_per_key ELSE q.max_running_per_key END,
            rate_per_key_count = CASE WHEN v_changes ? 'rate_per_key_count'
                THEN excluded.rate_per_key_count ELSE q.rate_per_key_count END,
            rate_per_key_ms = CASE WHEN v_changes ? 'rate_per_key_ms'
                THEN excluded.rate_per_key_ms ELSE q.rate_per_key_ms END,
            limits_from = 'hand';
    END IF;
    DELETE FROM flowstone_rate_uses u
    WHERE u.queue = p_queue
        AND NOT EXISTS (
            SELECT FROM flowstone_queues q
            WHERE q.name = p_queue
                AND CASE WHEN u.key = '' THEN q.rate_count ELSE q.rate_per_key_count END IS NOT NULL
        );
    PERFORM flowstone_bring_back_uses(p_queue);
    PERFORM flowstone_queues_changed(p_queue);
END;
$$;

-- Write the limits that code says, where nobody has said others at run time.
-- p_limits: [{"name"}], each with the columns that are not null.
CREATE FUNCTION flowstone_declare_queues_v1(p_limits json)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM flowstone_hold_queues(ARRAY(SELECT l ->> 'name' FROM json_array_elements(p_limits) l));
    INSERT INTO flowstone_queues AS q (
        name, max_running, rate_count, rate_ms, max_running_per_key, rate_per_key_count, rate_per_key_ms, limits_from
    )
    SELECT
        l.name, l.max_running, l.rate_count, l.rate_ms, l.max_running_per_key, l.rate_per_key_count,
        l.rate_per_key_ms, 'code'
    FROM json_to_recordset(p_limits) AS l(
        name text, max_running integer, rate_count integer, rate_ms bigint, max_running_per_key integer,
        rate_per_key_count integer, rate_per_key_ms bigint
    )
    ORDER BY l.name
    ON CONFLICT (name) DO UPDATE
    SET max_running = excluded.max_running,
        rate_count = excluded.rate_count,
        rate_ms = excluded.rate_ms,
        max_running_per_key = excluded.max_running_per_key,
        rate_per_key_count = excluded.rate_per_key_count,
        rate_per_key_ms = excluded.rate_per_key_ms,
        limits_from = 'code'
    WHERE q.limits_from IS DISTINCT FROM 'hand'
        AND (
            q.limits_from, q.max_running, q.rate_count, q.rate_ms, q.max_running_per_key, q.rate_per_key_count,
            q.rate_per_key_ms
        ) IS DISTINCT FROM (
            'code', excluded.max_running, excluded.rate_count, excluded.rate_ms, excluded.max_running_per_key,
            excluded.rate_per_key_count, excluded.rate_per_key_ms
        );
    IF FOUND THEN
        PERFORM flowstone_bring_back_uses(l ->> 'name') FROM json_array_elements(p_limits) l;
        PERFORM pg_notify('flowstone#' || current_schema(), '{"queues": true}');
    END IF;
END;
$$;

-- Say how many of a queue run at once on one worker, for as long as it lives, or on each that serves it
-- (p_worker null), those that start later too. Null slots: as each was started. False: no such worker.
CREATE FUNCTION flowstone_scale_queue_v1(p_queue text, p_slots integer, p_worker bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF p_worker IS NULL THEN
        INSERT INTO flowstone_queues AS q (name, slots) VALUES (p_queue, p_slots)
        ON CONFLICT (name) DO UPDATE SET slots = excluded.slots;
    ELSE
        UPDATE flowstone_workers w
        SET queue_slots = CASE
                WHEN p_slots IS NULL THEN nullif(w.queue_slots - p_queue, '{}')
                ELSE coalesce(w.queue_slots, '{}') || jsonb_build_object(p_queue, p_slots)
            END
        WHERE w.id = p_worker;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM flowstone_queues_changed(p_queue);
    RETURN true;
END;
$$;

-- Slots by queue that somebody has set for a worker.
CREATE FUNCTION flowstone_slots_v1(p_worker bigint)
    RETURNS TABLE (queue text, slots integer)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT coalesce(own.key, q.name), coalesce(own.value::integer, q.slots)
    FROM (SELECT o.key, o.value FROM flowstone_workers w, jsonb_each_text(w.queue_slots) o WHERE w.id = p_worker) own
    FULL JOIN (SELECT s.name, s.slots FROM flowstone_queues s WHERE s.slots IS NOT NULL) q ON q.name = own.key;
$$;

-- Queues that have settings, jobs or workers; or the one that is named, whatever it has.
CREATE FUNCTION flowstone_queues_v1(p_queue text)
    RETURNS TABLE (
        name text, paused_at timestamptz, slots integer, max_running integer, rate_count integer, rate_ms bigint,
        max_running_per_key integer, rate_per_key_count integer, rate_per_key_ms bigint, limits_from text, due bigint, later bigint, running bigint, workers bigint
    )
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN QUERY
    SELECT
        coalesce(q.queue, p_queue), q.paused_at, q.slots, q.max_running, q.rate,
        (extract(epoch FROM q.per) * 1000)::bigint, q.max_running_per_key, q.rate_per_key,
        (extract(epoch FROM q.per_key) * 1000)::bigint, q.limits_from, coalesce(q.due, 0), coalesce(q.later, 0),
        coalesce(q.running, 0), coalesce(q.workers, 0)
    FROM queues q
    FULL JOIN (SELECT p_queue AS queue WHERE p_queue IS NOT NULL) asked ON asked.queue = q.queue
    WHERE p_queue IS NULL OR asked.queue IS NOT NULL
    ORDER BY 1;
END;
$$;

-- Whether nothing of a queue runs, and nothing that is due could: it is empty, or paused.
--
-- Each look is at another moment: what was due may be running by the next one, and what ran may be due again. So
-- what is due is looked for before and after what runs.
CREATE FUNCTION flowstone_is_drained_v1(p_queue text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF EXISTS (SELECT FROM flowstone_queues q WHERE q.name = p_queue AND q.paused_at IS NOT NULL) THEN
        RETURN flowstone_running_in(p_queue) = 0;
    ELSIF flowstone_has_due(p_queue) OR flowstone_running_in(p_queue) > 0 THEN
        RETURN false;
    END IF;
    RETURN NOT flowstone_has_due(p_queue);
END;
$$;

-- For people; see docs/jobs.md.

CREATE FUNCTION pause_queue(queue text)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT flowstone_pause_queue_v1(queue, true);
$$;
COMMENT ON FUNCTION pause_queue IS 'Let no worker begin anything of the queue; what runs goes on.';

CREATE FUNCTION resume_queue(queue text)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT flowstone_pause_queue_v1(queue, false);
$$;
COMMENT ON FUNCTION resume_queue IS 'End a pause.';

CREATE FUNCTION limit_queue(
    queue text, max_running integer DEFAULT NULL, rate integer DEFAULT NULL, per interval DEFAULT '1 second',
    max_running_per_key integer DEFAULT NULL, rate_per_key integer DEFAULT NULL, per_key interval DEFAULT '1 second'
)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT flowstone_limit_queue_v1(
        queue,
        json_build_object(
            'max_running', max_running,
            'rate_count', rate,
            'rate_ms', CASE WHEN rate IS NOT NULL THEN (extract(epoch FROM per) * 1000)::bigint END,
            'max_running_per_key', max_running_per_key,
            'rate_per_key_count', rate_per_key,
            'rate_per_key_ms', CASE WHEN rate_per_key IS NOT NULL THEN (extract(epoch FROM per_key) * 1000)::bigint END
        )
    );
$$;
COMMENT ON FUNCTION limit_queue IS
    'Set all limits of a queue: how many run at once on all workers, how many start within any period, in all and per key. Null: no limit.';

CREATE FUNCTION scale_queue(queue text, slots integer, worker_id bigint DEFAULT NULL)
    RETURNS boolean
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    SELECT flowstone_scale_queue_v1(queue, slots, worker_id);
$$;
COMMENT ON FUNCTION scale_queue IS
    'Say how many of the queue run at once on each worker, or on one; 0: none, null: as it was started.';
