-- Begin a scatter, with one assistant that reads its items; false: it was begun before.
--
-- p_queue, p_priority: of its pumps; null is what its materialization has.
CREATE FUNCTION scatter_create_v1(
    p_barrier bigint,
    p_run bigint,
    p_asset text,
    p_partition text,
    p_options text,
    p_max_concurrent integer,
    p_rate_count integer,
    p_rate_ms bigint,
    p_failure_threshold double precision,
    p_failure_mode text,
    p_is_batched boolean,
    p_input text,
    p_queue text,
    p_priority integer
)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO scatter_feeds (materialization_id, asset, partition, options, is_batched, input)
    VALUES (p_barrier, p_asset, p_partition, p_options::json, p_is_batched, p_input::json)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO scatter_barriers (
        materialization_id, run_id, max_concurrent, rate_count, rate_ms, failure_threshold, failure_mode,
        created_at
    )
    VALUES (
        p_barrier, p_run, p_max_concurrent, p_rate_count, p_rate_ms, p_failure_threshold, p_failure_mode,
        clock_timestamp()
    );
    PERFORM flowstone_add_assistants_v1(p_barrier, ARRAY['{"feeds": true}'], p_queue, p_priority);
    RETURN true;
END;
$$;

-- The options of a scatter as they are now: limits may have been changed since it was begun.
CREATE FUNCTION scatter_options(p_given json, p_barrier scatter_barriers)
    RETURNS text
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT (p_given::jsonb || jsonb_build_object(
        'max_concurrent', coalesce(to_jsonb(p_barrier.max_concurrent), '"unlimited"'),
        'rate_limit', CASE
            WHEN p_barrier.rate_count IS NOT NULL THEN jsonb_build_array(p_barrier.rate_count, p_barrier.rate_ms)
        END,
        'failure_threshold', p_barrier.failure_threshold
    ))::text;
$$;

-- What a scatter was begun with, its limits as they are now, and how far it is read. With p_claim pages of earlier claims are refused
-- from now on; no row then: a later one reads already. Locks: the feed.
CREATE FUNCTION scatter_feed_v1(p_barrier bigint, p_claim integer)
    RETURNS TABLE (
        asset text, partition text, options text, input text, is_batched boolean, progress text,
        is_closed boolean, status text
    )
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    IF p_claim IS NOT NULL THEN
        UPDATE scatter_feeds f SET fed_claim = p_claim
        WHERE f.materialization_id = p_barrier AND f.fed_claim <= p_claim;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
    SELECT
        f.asset, f.partition, scatter_options(f.options, b), f.input::text, f.is_batched, f.progress::text, b.is_closed,
        CASE WHEN b.status = 'executing' AND scatter_is_abandoned(p_barrier) THEN 'cancelled' ELSE b.status END
    FROM scatter_feeds f
    JOIN scatter_barriers b ON b.materialization_id = f.materialization_id
    WHERE f.materialization_id = p_barrier;
END;
$$;

-- Insert a page of items, with where reading stands after it; duplicates of what is there are folded.
--
-- p_hashes: one after the other, 16 bytes each. p_items: a JSON array of them. p_batched: where they are batches,
-- the hashes of the keys of what is in them; else null.
-- p_claim: who reads; null is anybody. Nothing is written when a later claim reads (status 'superseded') or
-- when the barrier has ended. p_closes: no further page comes. Locks: the feed, then the barrier, last.
CREATE FUNCTION scatter_insert_v1(
    p_barrier bigint,
    p_claim integer,
    p_hashes bytea,
    p_keys text[],
    p_items text,
    p_progress text,
    p_expected_total bigint,
    p_closes boolean,
    p_batched bytea[]
)
    RETURNS TABLE (status text, inserted integer, total integer)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_feed scatter_feeds;
    v_barrier scatter_barriers;
    v_count integer := octet_length(p_hashes) / 16;
    v_inserted integer := 0;
    v_status text;
BEGIN
    SELECT f.* INTO v_feed FROM scatter_feeds f WHERE f.materialization_id = p_barrier FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT b.* INTO v_barrier FROM scatter_barriers b WHERE b.materialization_id = p_barrier;
    v_status := CASE
        WHEN p_claim < v_feed.fed_claim THEN 'superseded'
        WHEN v_barrier.status <> 'executing' THEN v_barrier.status
        WHEN v_barrier.is_closed THEN 'executing'
        WHEN scatter_is_abandoned(p_barrier) THEN 'cancelled'
    END;
    IF v_status IS NOT NULL THEN
        RETURN QUERY SELECT v_status, 0, v_barrier.total;
        RETURN;
    END IF;

    IF v_count > 0 THEN
        -- Nobody else inserts into this barrier meanwhile: most pages have no duplicates, and looking for them
        -- first costs a third of all.
        BEGIN
            INSERT INTO scatter_items (materialization_id, index, key_hash, key, item)
            SELECT
                p_barrier, v_feed.next_index + it.place - 1,
                substr(p_hashes, (it.place::integer - 1) * 16 + 1, 16), it.key::json, it.item
            FROM ROWS FROM (json_array_elements(p_items::json), unnest(p_keys))
                WITH ORDINALITY AS it(item, key, place);
            GET DIAGNOSTICS v_inserted = ROW_COUNT;
        EXCEPTION WHEN unique_violation THEN
            INSERT INTO scatter_items (materialization_id, index, key_hash, key, item)
            SELECT
                p_barrier, v_feed.next_index + it.place - 1,
                substr(p_hashes, (it.place::integer - 1) * 16 + 1, 16), it.key::json, it.item
            FROM ROWS FROM (json_array_elements(p_items::json), unnest(p_keys))
                WITH ORDINALITY AS it(item, key, place)
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS v_inserted = ROW_COUNT;
        END;
    END IF;
    IF p_batched IS NOT NULL THEN
        INSERT INTO scatter_batched_keys (materialization_id, key_hash)
        SELECT p_barrier, hash FROM unnest(p_batched) AS hash
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE scatter_feeds f
    SET next_index = f.next_index + v_count,
        progress = coalesce(p_progress::json, f.progress),
        expected_total = coalesce(p_expected_total, f.expected_total)
    WHERE f.materialization_id = p_barrier;

    UPDATE scatter_barriers b
    SET total = b.total + v_inserted,
        last_index = v_feed.next_index + v_count - 1,
        item_bytes = greatest(b.item_bytes, octet_length(p_items) / nullif(v_count, 0)),
        is_closed = p_closes
    WHERE b.materialization_id = p_barrier AND b.status = 'executing'
    RETURNING b.* INTO v_barrier;
    IF NOT FOUND THEN
        -- It has ended meanwhile: what ended it has counted what there was.
        DELETE FROM scatter_items i
        WHERE i.materialization_id = p_barrier AND i.index >= v_feed.next_index;
        RETURN QUERY
        SELECT b.status, 0, b.total FROM scatter_barriers b WHERE b.materialization_id = p_barrier;
        RETURN;
    END IF;
    IF v_inserted > 0 AND v_feed.options ->> 'mode' = 'distributed' THEN
        INSERT INTO scatter_children (materialization_id, batch_index, first_index, last_index)
        SELECT
            p_barrier, coalesce(max(c.batch_index) + 1, 0), v_feed.next_index, v_feed.next_index + v_count - 1
        FROM scatter_children c
        WHERE c.materialization_id = p_barrier;
    END IF;
    v_status := scatter_judge(v_barrier);
    IF v_status IS NOT NULL THEN
        UPDATE scatter_barriers b SET status = v_status, finished_at = clock_timestamp()
        WHERE b.materialization_id = p_barrier;
        PERFORM scatter_tell_end(p_barrier, v_status);
    END IF;
    RETURN QUERY SELECT coalesce(v_status, v_barrier.status), v_inserted, v_barrier.total;
END;
$$;
