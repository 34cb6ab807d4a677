-- One turn of a pump: settle what it has finished, hand out what is next. One call, one commit.
--
-- Turns of one barrier follow each other, as each holds its row: so what they grant, hand out and count is
-- exact, whatever the number of pumps. They are short, and carry a thousand items each under load.

-- The turn itself. Arrays run in parallel, one entry for each item that has had an attempt:
--   p_events: 1 completed, 2 failed, 3 failed and to be tried again after p_delays milliseconds, 4 not begun,
--   or not to be counted, and back after p_delays.
-- p_results: a JSON array; what has no result has any value there. p_errors, p_partial: JSON, null where none has
-- any. p_chunks, p_attempts and p_events may have one value that stands for all. p_finished: chunks of which
-- nothing is left.
--
-- The fence is (chunk, pump, claim): what comes from a chunk that has gone to others is refused, as is what was
-- settled before. With p_ends the pump gives back all it has. p_held items are with it; p_running of them run, or
-- may until this is answered. p_wanted_permits is null where another turn of the same pump asks for permits.
-- wait_ms: until more may be had of what waits for its time; null: nobody knows. To a pump that ends it says
-- that there are items which nobody has, whatever earlier turns, overtaken by others of its own, had told it.
CREATE FUNCTION scatter_turn_v1(
    p_barrier bigint,
    p_pump bigint,
    p_claim integer,
    p_chunks bigint[],
    p_indexes integer[],
    p_attempts smallint[],
    p_events smallint[],
    p_results text,
    p_errors text[],
    p_partial text[],
    p_delays bigint[],
    p_finished bigint[],
    p_want integer,
    p_held integer,
    p_running integer,
    p_wanted_permits integer,
    p_begins boolean,
    p_ends boolean,
    p_asks boolean
)
    RETURNS TABLE (
        status text, total integer, completed integer, failed integer, is_closed boolean, refused integer,
        permits integer, wait_ms bigint, has_rivals boolean, start_ms double precision,
        spacing_ms double precision, slack_ms double precision,
        chunks bigint[], indexes integer[], attempts smallint[], keys text[], items text[]
    )
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_b scatter_barriers;
    v_owned bigint[];
    v_done record;
    v_handed scatter_handed;
    v_fresh scatter_handed;
    v_room integer := p_want;
    v_is_less boolean := false;
    v_count integer := 0;
    v_last integer;
    v_chunk bigint;
    v_start timestamptz;
    v_ended text;
BEGIN
    SELECT b.* INTO v_b FROM scatter_barriers b WHERE b.materialization_id = p_barrier FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- As others may have held the barrier until now.
    v_now := clock_timestamp();
    refused := coalesce(cardinality(p_indexes), 0);
    has_rivals := false;
    permits := coalesce(p_wanted_permits, 0);
    IF v_b.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN
        PERFORM scatter_end_v1(p_barrier, 'cancelled', NULL);
        v_b.status := 'cancelled';
    END IF;
    IF v_b.status <> 'executing' THEN
        RETURN QUERY SELECT
            v_b.status, v_b.total, v_b.completed, v_b.failed, v_b.is_closed, refused, 0, NULL::bigint, false,
            NULL::double precision, NULL::double precision, NULL::double precision, NULL::bigint[], NULL::integer[], NULL::smallint[],
            NULL::text[], NULL::text[];
        RETURN;
    END IF;

    IF p_begins THEN
        v_b.failed := v_b.failed + scatter_take_back(p_barrier, p_pump, p_claim, 5);
    END IF;

    IF refused > 0 THEN
        v_owned := ARRAY(
            SELECT c.id FROM scatter_chunks c
            WHERE c.materialization_id = p_barrier AND c.pump_id = p_pump AND c.pump_claim = p_claim
        );
        WITH settled AS (
            UPDATE scatter_items i
            SET status = CASE WHEN o.event < 3 THEN o.event ELSE 0 END,
                attempts = i.attempts + (o.event < 4)::integer,
                result = CASE WHEN o.event = 1 THEN o.result END,
                error = CASE WHEN o.event < 4 THEN o.error::json ELSE i.error END,
                errors = o.partial::json,
                finished_at = CASE WHEN o.event < 3 THEN v_now END
            FROM (
                -- The barrier as a column that nobody can see through: with a constant, a plan made while the
                -- table was empty reads all items of the barrier for each.
                SELECT
                    p_barrier AS barrier, coalesce(o.chunk, p_chunks[1]) AS chunk, o.index,
                    coalesce(o.attempts, p_attempts[1]) AS attempts, coalesce(o.event, p_events[1]) AS event,
                    o.result, o.error, o.partial
                FROM ROWS FROM (
                    unnest(p_chunks), unnest(p_indexes), unnest(p_attempts), unnest(p_events),
                    json_array_elements(p_results::json), unnest(p_errors), unnest(p_partial)
                ) AS o(chunk, index, attempts, event, result, error, partial)
                OFFSET 0
            ) o
            WHERE i.materialization_id = o.barrier
                AND i.index = o.index
                AND i.status = 0
                AND i.attempts = o.attempts
                AND o.chunk = ANY (v_owned)
            RETURNING i.index, o.event
        )
        SELECT
            count(*) FILTER (WHERE s.event = 1)::integer AS completed,
            count(*) FILTER (WHERE s.event = 2)::integer AS failed,
            array_agg(s.index) FILTER (WHERE s.event >= 3) AS again,
            array_agg(s.index) FILTER (WHERE s.event = 4) AS returned,
            count(*) FILTER (WHERE s.event = 3)::integer AS retried,
            count(*)::integer AS all_of_them
        INTO v_done
        FROM settled s;
        refused := refused - v_done.all_of_them;
        v_b.completed := v_b.completed + v_done.completed;
        v_b.failed := v_b.failed + v_done.failed;
        IF v_done.again IS NOT NULL THEN
            v_b.retried := v_b.retried + v_done.retried;
            -- What goes back as it was would still count as left of the chunk that it comes from.
            UPDATE scatter_chunks c
            SET first_index = NULL,
                last_index = NULL,
                indexes = ARRAY(
                    SELECT left_.index FROM unnest(scatter_left(c)) AS left_(index)
                    WHERE left_.index <> ALL (v_done.returned)
                    ORDER BY left_.index
                )
            WHERE v_done.returned IS NOT NULL AND c.id = ANY (p_chunks) AND c.id = ANY (v_owned);
            INSERT INTO scatter_chunks (materialization_id, indexes, attempts, due_at)
            SELECT
                p_barrier, array_agg(o.index ORDER BY o.index), o.attempts,
                v_now + max(o.delay_ms) * interval '1 ms'
            FROM (
                SELECT
                    o.index, o.delay_ms, o.index = ANY (v_done.returned) AS is_returned,
                    coalesce(o.attempts, p_attempts[1]) + (coalesce(o.event, p_events[1]) = 3)::integer AS attempts
                FROM unnest(p_indexes, p_attempts, p_events, p_delays) AS o(index, attempts, event, delay_ms)
                WHERE o.index = ANY (v_done.again)
            ) o
            -- An item waits for company, but no longer than a fifth of its own delay.
            GROUP BY o.attempts, o.is_returned,
                CASE WHEN o.delay_ms > 0 THEN floor(4 * ln(o.delay_ms) / ln(2)) END;
        END IF;
        IF p_finished <> '{}' THEN
            DELETE FROM scatter_chunks c WHERE c.id = ANY (p_finished) AND c.id = ANY (v_owned);
        END IF;
    END IF;

    v_ended := scatter_judge(v_b);
    IF v_ended IS NULL AND p_ends THEN
        UPDATE scatter_chunks c SET pump_id = NULL, pump_claim = NULL
        WHERE c.materialization_id = p_barrier AND c.pump_id = p_pump AND c.pump_claim = p_claim;
        DELETE FROM scatter_pumps s
        WHERE s.materialization_id = p_barrier AND s.pump_id = p_pump AND s.pump_claim <= p_claim;
        wait_ms := CASE
            WHEN v_b.claimed_index < v_b.last_index THEN 0 ELSE scatter_wait(p_barrier, v_now, true)
        END;
    ELSIF v_ended IS NULL THEN
        -- 16 MiB at once, or so; a batch may be large.
        IF v_room > 16777216 / (v_b.item_bytes + 1) THEN
            v_room := greatest(1, 16777216 / (v_b.item_bytes + 1));
            v_is_less := true;
        END IF;
        IF v_b.max_concurrent IS NOT NULL THEN
            IF p_asks THEN
                PERFORM scatter_forget_gone(p_barrier);
            END IF;
            permits := scatter_permit(
                p_barrier, v_b.max_concurrent, p_pump, p_claim, p_wanted_permits, p_running
            );
            v_room := CASE WHEN permits > 0 THEN least(v_room, v_b.max_concurrent) ELSE 0 END;
        END IF;
        IF v_b.rate_count IS NOT NULL AND v_room > 0 THEN
            -- So far apart that starts which come a little late stay within the rate, in every window.
            spacing_ms := v_b.rate_ms * 1.06 / v_b.rate_count;
            -- The answers to turns alone take more than that of a shorter period.
            slack_ms := CASE WHEN v_b.rate_ms >= 1000 THEN v_b.rate_ms * 0.055 END;
            v_start := greatest(v_b.next_start_at, v_now);
            IF v_b.max_concurrent IS NOT NULL THEN
                v_room := least(v_room, permits - p_held);
            END IF;
            v_room := least(
                v_room,
                floor(extract(epoch FROM v_now + interval '1 second' - v_start) * 1000 / spacing_ms)::integer + 1
            );
            IF v_room <= 0 AND v_start > v_now + interval '1 second' THEN
                wait_ms := extract(epoch FROM v_start - v_now) * 1000 - 500;
            END IF;
        END IF;

        IF v_room > 0 THEN
            v_handed := scatter_hand_out_again(p_barrier, p_pump, p_claim, v_room, p_held = 0);
            v_count := coalesce(cardinality(v_handed.indexes), 0);
        END IF;
        IF v_count < v_room AND v_b.claimed_index < v_b.last_index
            AND (v_count = 0 OR NOT EXISTS (
                SELECT FROM scatter_chunks c WHERE c.id = v_handed.chunks[1] AND c.deaths >= 2
            ))
        THEN
            SELECT
                array_agg(i.index) FILTER (WHERE i.status = 0),
                array_agg(i.attempts) FILTER (WHERE i.status = 0),
                array_agg(i.key::text) FILTER (WHERE i.status = 0),
                array_agg(i.item::text) FILTER (WHERE i.status = 0),
                max(i.index)
            INTO v_fresh.indexes, v_fresh.attempts, v_fresh.keys, v_fresh.items, v_last
            FROM (
                SELECT i.index, i.status, i.attempts, i.key, i.item
                FROM scatter_items i
                WHERE i.materialization_id = p_barrier
                    AND i.index > v_b.claimed_index
                    AND i.index <= v_b.last_index
                ORDER BY i.index
                LIMIT v_room - v_count
            ) i;
            IF v_fresh.indexes IS NOT NULL THEN
                INSERT INTO scatter_chunks (
                    materialization_id, first_index, last_index, pump_id, pump_claim
                )
                VALUES (p_barrier, v_b.claimed_index + 1, v_last, p_pump, p_claim)
                RETURNING id INTO v_chunk;
                v_handed.chunks := v_handed.chunks
                    || array_fill(v_chunk, ARRAY[cardinality(v_fresh.indexes)]);
                v_handed.indexes := v_handed.indexes || v_fresh.indexes;
                v_handed.attempts := v_handed.attempts || v_fresh.attempts;
                v_handed.keys := v_handed.keys || v_fresh.keys;
                v_handed.items := v_handed.items || v_fresh.items;
                v_count := v_count + cardinality(v_fresh.indexes);
            END IF;
            -- Beyond the last one there may be numbers that duplicates had.
            v_b.claimed_index := coalesce(v_last, v_b.last_index);
        END IF;
        IF v_b.rate_count IS NOT NULL AND v_count > 0 THEN
            start_ms := extract(epoch FROM v_start - v_now) * 1000;
            v_b.next_start_at := v_start + v_count * spacing_ms * interval '1 ms';
            wait_ms := greatest(0, extract(epoch FROM v_b.next_start_at - v_now) * 1000 - 500);
        END IF;
        IF v_count = 0 AND p_want > 0 AND (v_room > 0 OR permits = 0) THEN
            v_b.failed := v_b.failed + scatter_take_back(p_barrier, p_pump, p_claim, 5);
            v_ended := scatter_judge(v_b);
        END IF;
        IF v_is_less AND v_count >= v_room AND v_count > 0 THEN
            wait_ms := coalesce(wait_ms, 0);
        END IF;
        wait_ms := coalesce(wait_ms, scatter_wait(p_barrier, v_now, p_held = 0));
        IF (p_begins OR p_asks) AND v_ended IS NULL THEN
            has_rivals := p_asks AND flowstone_has_rivals(p_pump);
            IF v_b.claimed_index < v_b.last_index THEN
                PERFORM scatter_call_help(p_barrier, p_pump);
            END IF;
        END IF;
    END IF;

    UPDATE scatter_barriers b
    SET status = coalesce(v_ended, b.status),
        finished_at = CASE WHEN v_ended IS NOT NULL THEN clock_timestamp() END,
        completed = v_b.completed,
        failed = v_b.failed,
        retried = v_b.retried,
        claimed_index = v_b.claimed_index,
        next_start_at = v_b.next_start_at
    WHERE b.materialization_id = p_barrier;
    IF v_ended IS NOT NULL THEN
        PERFORM scatter_tell_end(p_barrier, v_ended);
    END IF;
    RETURN QUERY SELECT
        coalesce(v_ended, v_b.status), v_b.total, v_b.completed, v_b.failed, v_b.is_closed, refused, permits,
        wait_ms, has_rivals, start_ms, spacing_ms, slack_ms, v_handed.chunks, v_handed.indexes, v_handed.attempts,
        v_handed.keys, v_handed.items;
END;
$$;
