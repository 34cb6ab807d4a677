-- Limits of the application's own: slots and rates by name, shared by all workers.
--
-- A slot is held by an attempt, under its claim, and counts for as long as that attempt runs: when its worker
-- dies and it is taken over, the slot is free, whoever forgot to give it back. What a rate lets through is
-- counted over the period that has just passed, and is exact, because whoever counts holds the limit's row.
-- Locks: the limit's row, alone.

-- Say limits. p_limits: [{"name", "slots", "rate_count", "rate_ms"}]. p_by_code: leave alone what was said at
-- run time.
CREATE FUNCTION flowstone_set_limits_v1(p_limits json, p_by_code boolean)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    INSERT INTO flowstone_limits AS l (name, slots, rate_count, rate_ms, is_by_hand)
    SELECT s.name, s.slots, s.rate_count, s.rate_ms, NOT p_by_code
    FROM json_to_recordset(p_limits) AS s(name text, slots integer, rate_count integer, rate_ms bigint)
    ORDER BY s.name
    ON CONFLICT (name) DO UPDATE
    SET slots = excluded.slots,
        rate_count = excluded.rate_count,
        rate_ms = excluded.rate_ms,
        is_by_hand = excluded.is_by_hand
    WHERE NOT (p_by_code AND l.is_by_hand);

    -- What a longer period has noted ahead of its time is brought back, as in flowstone_bring_back_uses.
    WITH step AS MATERIALIZED (
        SELECT l.name, flowstone_rate_step(l.rate_ms) AS at
        FROM flowstone_limits l
        WHERE l.name IN (SELECT s ->> 'name' FROM json_array_elements(p_limits) s) AND l.rate_ms IS NOT NULL
    ),
    ahead AS (
        DELETE FROM flowstone_limit_uses u
        USING step
        WHERE u.limit_name = step.name AND u.used_at > step.at
        RETURNING u.limit_name, step.at, u.count
    )
    INSERT INTO flowstone_limit_uses AS u (limit_name, used_at, count)
    SELECT a.limit_name, a.at, sum(a.count) FROM ahead a GROUP BY a.limit_name, a.at
    ON CONFLICT (limit_name, used_at) DO UPDATE SET count = u.count + excluded.count;
$$;

-- How many of a limit's slots are taken by attempts that run. Holds the limit's row.
CREATE FUNCTION flowstone_slots_taken(p_limit text)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_taken bigint;
BEGIN
    DELETE FROM flowstone_limit_slots s
    WHERE s.limit_name = p_limit
        AND NOT EXISTS (
            SELECT FROM flowstone_materializations m
            WHERE m.id = s.materialization_id AND m.status = 'running' AND m.claim = s.claim
        );
    SELECT count(*) INTO v_taken FROM flowstone_limit_slots s WHERE s.limit_name = p_limit;
    RETURN v_taken;
END;
$$;

-- How much of a limit's rate was used within the last period. Holds the limit's row.
CREATE FUNCTION flowstone_limit_used(p_limit text, p_ms bigint)
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_used bigint;
BEGIN
    DELETE FROM flowstone_limit_uses u
    WHERE u.limit_name = p_limit AND u.used_at <= clock_timestamp() - p_ms * interval '1 ms';
    SELECT coalesce(sum(u.count), 0) INTO v_used FROM flowstone_limit_uses u WHERE u.limit_name = p_limit;
    RETURN v_used;
END;
$$;

-- Take a slot of a limit, and one use of its rate, or say how long to wait (milliseconds; no slot_id).
--
-- p_id, p_claim: the attempt that holds the slot; null uses the rate alone.
CREATE FUNCTION flowstone_take_limit_v1(p_limit text, p_id bigint, p_claim integer)
    RETURNS TABLE (slot_id bigint, wait_ms bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_limit flowstone_limits;
    v_step_ms bigint;
BEGIN
    SELECT * INTO v_limit FROM flowstone_limits l WHERE l.name = p_limit FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no limit %', p_limit USING ERRCODE = 'FS005', DETAIL = p_limit;
    END IF;

    IF p_id IS NOT NULL AND flowstone_slots_taken(p_limit) >= v_limit.slots THEN
        -- Whoever gives one back wakes those who have asked lately.
        UPDATE flowstone_limits l SET awaited_at = clock_timestamp() WHERE l.name = p_limit;
        wait_ms := 1000;
    ELSIF v_limit.rate_count IS NOT NULL
        AND flowstone_limit_used(p_limit, v_limit.rate_ms) >= v_limit.rate_count
    THEN
        SELECT greatest(
            1,
            ceil(extract(epoch FROM min(u.used_at) - clock_timestamp()) * 1000)::bigint + v_limit.rate_ms
        )
        INTO wait_ms
        FROM flowstone_limit_uses u
        WHERE u.limit_name = p_limit;
    ELSE
        IF v_limit.rate_count IS NOT NULL THEN
            -- Rounded up, a thousand rows a period at the most: no window is ever counted short.
            v_step_ms := greatest(1, v_limit.rate_ms / 1000);
            INSERT INTO flowstone_limit_uses AS u (limit_name, used_at, count)
            VALUES (
                p_limit,
                to_timestamp(ceil(extract(epoch FROM clock_timestamp()) * 1000 / v_step_ms) * v_step_ms / 1000),
                1
            )
            ON CONFLICT (limit_name, used_at) DO UPDATE SET count = u.count + 1;
        END IF;
        IF p_id IS NOT NULL AND v_limit.slots IS NOT NULL THEN
            INSERT INTO flowstone_limit_slots (limit_name, materialization_id, claim)
            VALUES (p_limit, p_id, p_claim)
            RETURNING id INTO slot_id;
        END IF;
    END IF;
    RETURN NEXT;
END;
$$;

-- Give a slot back; false when it was not held any longer.
CREATE FUNCTION flowstone_give_back_slot_v1(p_limit text, p_slot bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_awaited_at timestamptz;
    v_was_held boolean;
BEGIN
    SELECT l.awaited_at INTO v_awaited_at FROM flowstone_limits l WHERE l.name = p_limit FOR UPDATE;
    DELETE FROM flowstone_limit_slots s WHERE s.limit_name = p_limit AND s.id = p_slot;
    v_was_held := FOUND;
    IF v_awaited_at > clock_timestamp() - interval '10 s' THEN
        PERFORM pg_notify('flowstone#' || current_schema(), json_build_object('limit', p_limit)::text);
    END IF;
    RETURN v_was_held;
END;
$$;

-- How limits stand, by name; p_limit null is all of them.
CREATE FUNCTION flowstone_limits_v1(p_limit text)
    RETURNS TABLE (
        name text, slots integer, rate_count integer, rate_ms bigint, is_by_hand boolean, taken bigint, used bigint
    )
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        l.name, l.slots, l.rate_count, l.rate_ms, l.is_by_hand,
        (
            SELECT count(*)
            FROM flowstone_limit_slots s
            JOIN flowstone_materializations m
                ON m.id = s.materialization_id AND m.status = 'running' AND m.claim = s.claim
            WHERE s.limit_name = l.name
        ),
        (
            SELECT coalesce(sum(u.count), 0)::bigint
            FROM flowstone_limit_uses u
            WHERE u.limit_name = l.name AND u.used_at > clock_timestamp() - l.rate_ms * interval '1 ms'
        )
    FROM flowstone_limits l
    WHERE p_limit IS NULL OR l.name = p_limit
    ORDER BY l.name;
$$;

-- Forget what was used of a limit's rate, and free its slots; who holds one goes on without it. False: there
-- is no such limit.
CREATE FUNCTION flowstone_reset_limit_v1(p_limit text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM FROM flowstone_limits l WHERE l.name = p_limit FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM flowstone_limit_uses u WHERE u.limit_name = p_limit;
    DELETE FROM flowstone_limit_slots s WHERE s.limit_name = p_limit;
    PERFORM pg_notify('flowstone#' || current_schema(), json_build_object('limit', p_limit)::text);
    RETURN true;
END;
$$;

-- Forget a limit; false: there was none.
CREATE FUNCTION flowstone_remove_limit_v1(p_limit text)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM flowstone_reset_limit_v1(p_limit);
    DELETE FROM flowstone_limits l WHERE l.name = p_limit;
    RETURN FOUND;
END;
$$;
