-- What a turn of a pump is made of: taking back, handing out, permitting, calling for help. The caller of each
-- holds the row of the barrier.

CREATE TYPE scatter_handed AS (
    chunks bigint[], indexes integer[], attempts smallint[], keys text[], items text[]
);

-- Take chunks back from pumps that are gone: a later claim of theirs has begun, or they do not run.
--
-- What was lost twice is handed out again item by item, and what cost its pump more than p_most_deaths fails.
-- Returns how many failed. The caller holds the barrier.
CREATE FUNCTION scatter_take_back(p_barrier bigint, p_pump bigint, p_claim integer, p_most_deaths integer)
    RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    v_failed integer := 0;
    v_chunk scatter_chunks;
    v_left integer[];
BEGIN
    FOR v_chunk IN
        SELECT c.*
        FROM scatter_chunks c
        LEFT JOIN flowstone_materializations m ON m.id = c.pump_id
        WHERE c.materialization_id = p_barrier
            AND c.pump_id IS NOT NULL
            AND (
                c.pump_id = p_pump AND c.pump_claim < p_claim
                OR NOT (m.status = 'running' AND m.claim = c.pump_claim)
            )
        ORDER BY c.id
    LOOP
        v_left := scatter_left(v_chunk);
        IF v_left = '{}' THEN
            DELETE FROM scatter_chunks c WHERE c.id = v_chunk.id;
        ELSIF v_chunk.deaths < 1 THEN
            UPDATE scatter_chunks c
            SET pump_id = NULL, pump_claim = NULL, deaths = c.deaths + 1, due_at = NULL
            WHERE c.id = v_chunk.id;
        ELSIF v_chunk.deaths >= p_most_deaths THEN
            UPDATE scatter_items i
            SET status = 2,
                attempts = i.attempts + 1,
                finished_at = clock_timestamp(),
                error = json_build_object(
                    'code', 'worker_died',
                    'message', 'its worker died ' || (v_chunk.deaths + 1) || ' times while running it'
                )
            WHERE i.materialization_id = p_barrier AND i.index = ANY (v_left);
            v_failed := v_failed + cardinality(v_left);
            DELETE FROM scatter_chunks c WHERE c.id = v_chunk.id;
        ELSE
            DELETE FROM scatter_chunks c WHERE c.id = v_chunk.id;
            INSERT INTO scatter_chunks (materialization_id, indexes, attempts, deaths)
            SELECT p_barrier, ARRAY[it], v_chunk.attempts, v_chunk.deaths + 1 FROM unnest(v_left) it;
        END IF;
    END LOOP;
    PERFORM scatter_forget_gone(p_barrier);
    RETURN v_failed;
END;
$$;

-- Let others have the permits of pumps that are gone. The caller holds the barrier.
CREATE FUNCTION scatter_forget_gone(p_barrier bigint)
    RETURNS void
    LANGUAGE sql
AS $$
    DELETE FROM scatter_pumps s
    USING flowstone_materializations m
    WHERE s.materialization_id = p_barrier
        AND m.id = s.pump_id
        AND NOT (m.status = 'running' AND m.claim = s.pump_claim);
$$;

-- The items of a chunk that still are to be done.
CREATE FUNCTION scatter_left(p_chunk scatter_chunks)
    RETURNS integer[]
    LANGUAGE plpgsql
    STABLE
AS $$
BEGIN
    IF p_chunk.indexes IS NULL THEN
        RETURN ARRAY(
            SELECT i.index
            FROM scatter_items i
            WHERE i.materialization_id = p_chunk.materialization_id
                AND i.index BETWEEN p_chunk.first_index AND p_chunk.last_index
                AND i.status = 0
                AND i.attempts = p_chunk.attempts
            ORDER BY i.index
        );
    END IF;
    RETURN ARRAY(
        SELECT i.index
        FROM scatter_items i
        WHERE i.materialization_id = p_chunk.materialization_id
            AND i.index = ANY (p_chunk.indexes)
            AND i.status = 0
            AND i.attempts = p_chunk.attempts
        ORDER BY i.index
    );
END;
$$;

-- Hand out up to p_room items that were handed out before: given back, or to be tried again by now.
--
-- What has cost two pumps their life is handed out alone, to one that has nothing else (p_is_idle).
CREATE FUNCTION scatter_hand_out_again(
    p_barrier bigint, p_pump bigint, p_claim integer, p_room integer, p_is_idle boolean
)
    RETURNS scatter_handed
    LANGUAGE plpgsql
AS $$
DECLARE
    v_handed scatter_handed;
    v_part scatter_handed;
    v_chunk scatter_chunks;
    v_left integer[];
    v_room integer := p_room;
BEGIN
    FOR v_chunk IN
        SELECT c.*
        FROM scatter_chunks c
        WHERE c.materialization_id = p_barrier
            AND c.pump_id IS NULL
            AND (c.due_at IS NULL OR c.due_at <= clock_timestamp())
            AND (c.deaths < 2 OR p_is_idle)
        ORDER BY c.deaths >= 2, c.due_at NULLS FIRST, c.id
        LIMIT 100
    LOOP
        EXIT WHEN v_room <= 0 OR v_chunk.deaths >= 2 AND v_handed.indexes IS NOT NULL;
        v_left := scatter_left(v_chunk);
        IF v_left = '{}' THEN
            DELETE FROM scatter_chunks c WHERE c.id = v_chunk.id;
            CONTINUE;
        END IF;
        IF cardinality(v_left) > v_room THEN
            INSERT INTO scatter_chunks (materialization_id, indexes, attempts, due_at, deaths)
            VALUES (p_barrier, v_left[v_room + 1:], v_chunk.attempts, v_chunk.due_at, v_chunk.deaths);
            v_left := v_left[:v_room];
        END IF;
        UPDATE scatter_chunks c
        SET pump_id = p_pump, pump_claim = p_claim, first_index = NULL, last_index = NULL, indexes = v_left
        WHERE c.id = v_chunk.id;
        SELECT
            array_agg(v_chunk.id), array_agg(i.index), array_agg(i.attempts), array_agg(i.key::text),
            array_agg(i.item::text)
        INTO v_part.chunks, v_part.indexes, v_part.attempts, v_part.keys, v_part.items
        FROM (
            SELECT i.* FROM scatter_items i
            WHERE i.materialization_id = p_barrier AND i.index = ANY (v_left)
            ORDER BY i.index
        ) i;
        v_handed.chunks := v_handed.chunks || v_part.chunks;
        v_handed.indexes := v_handed.indexes || v_part.indexes;
        v_handed.attempts := v_handed.attempts || v_part.attempts;
        v_handed.keys := v_handed.keys || v_part.keys;
        v_handed.items := v_handed.items || v_part.items;
        v_room := v_room - cardinality(v_left);
        EXIT WHEN v_chunk.deaths >= 2;
    END LOOP;
    RETURN v_handed;
END;
$$;

-- In how many milliseconds what was handed out before may be handed out again; null: nothing waits for that.
CREATE FUNCTION scatter_wait(p_barrier bigint, p_now timestamptz, p_is_idle boolean)
    RETURNS bigint
    LANGUAGE sql
    STABLE
AS $$
    SELECT greatest(0, ceil(extract(epoch FROM min(coalesce(c.due_at, p_now)) - p_now) * 1000))
    FROM scatter_chunks c
    WHERE c.materialization_id = p_barrier AND c.pump_id IS NULL AND (c.deaths < 2 OR p_is_idle)
    HAVING count(*) > 0;
$$;

-- How many items a pump may run at once: what nobody else has, or its share where others are short.
--
-- p_running run, or may, until the pump has heard: they are not taken away before. p_wanted null: only tell what it
-- has. One that was claimed again since has none. The caller holds the barrier.
CREATE FUNCTION scatter_permit(
    p_barrier bigint, p_most integer, p_pump bigint, p_claim integer, p_wanted integer, p_running integer
)
    RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    v_taken integer;
    v_others integer;
    v_short boolean;
    v_permits integer;
    v_own scatter_pumps;
BEGIN
    SELECT s.* INTO v_own FROM scatter_pumps s WHERE s.materialization_id = p_barrier AND s.pump_id = p_pump;
    IF v_own.pump_claim > p_claim THEN
        RETURN 0;
    END IF;
    IF p_wanted IS NULL THEN
        RETURN coalesce(v_own.permits, 0);
    END IF;
    SELECT coalesce(sum(s.permits), 0), count(*), coalesce(bool_or(s.is_short), false)
    INTO v_taken, v_others, v_short
    FROM scatter_pumps s
    WHERE s.materialization_id = p_barrier AND s.pump_id <> p_pump;

    v_permits := least(p_wanted, p_most - v_taken);
    IF v_short THEN
        v_permits := least(v_permits, greatest(1, p_most / (v_others + 1)));
    END IF;
    v_permits := greatest(v_permits, 0);
    INSERT INTO scatter_pumps AS s (materialization_id, pump_id, pump_claim, permits, is_short)
    -- What runs counts against the others; the pump itself begins nothing above its permits.
    VALUES (p_barrier, p_pump, p_claim, greatest(v_permits, p_running), v_permits < least(p_wanted, p_most / (v_others + 1)))
    ON CONFLICT (materialization_id, pump_id) DO UPDATE
    SET pump_claim = excluded.pump_claim, permits = excluded.permits, is_short = excluded.is_short;
    RETURN v_permits;
END;
$$;

-- Add a pump, unless one is not claimed yet, or there are enough. The caller holds the barrier.
CREATE FUNCTION scatter_call_help(p_barrier bigint, p_pump bigint)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_ready bigint;
    v_all bigint;
    v_queue text;
    v_priority integer;
BEGIN
    SELECT count(*) FILTER (WHERE m.status = 'ready'), count(*) INTO v_ready, v_all
    FROM flowstone_materializations m
    WHERE m.assists = p_barrier AND m.status IN ('ready', 'running');
    IF v_ready = 0 AND v_all < 16 THEN
        SELECT m.queue, m.priority INTO v_queue, v_priority
        FROM flowstone_materializations m WHERE m.id = p_pump;
        PERFORM flowstone_add_assistants_v1(p_barrier, ARRAY['{"feeds": false}'], v_queue, v_priority);
    END IF;
END;
$$;
