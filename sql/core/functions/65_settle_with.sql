-- Attempts that commit with what their functions wrote: ctx.transaction().

-- Mark the caller's transaction, so that flowstone_settle_with_v1 knows it again, and let the server end it when
-- nobody has spoken in it for so long. Both hold until its end, which a pooler in transaction mode respects.
-- A limit that is already in force and shorter stays.
CREATE FUNCTION flowstone_mark_transaction_v1(p_token text, p_idle_ms bigint)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_limit interval := current_setting('idle_in_transaction_session_timeout')::interval;
BEGIN
    PERFORM set_config('flowstone_transaction.token', p_token, true);
    IF v_limit = interval '0' OR v_limit > p_idle_ms * interval '1 ms' THEN
        PERFORM set_config('idle_in_transaction_session_timeout', p_idle_ms || 'ms', true);
    END IF;
END;
$$;

-- Settle one claim in the transaction in which its function has written; the arrays of flowstone_turn_v1, with
-- one element each. False: it was refused, and the caller rolls all of it back.
--
-- A function that has ended the transaction itself has let go of its writes, or committed them already: it is
-- told so, and nothing is settled. A lock that somebody holds for longer than lock_timeout undoes the whole.
-- Locks: as flowstone_settle, after whatever the function has locked.
CREATE FUNCTION flowstone_settle_with_v1(
    p_token text,
    p_worker bigint,
    p_ids bigint[],
    p_claims integer[],
    p_events smallint[],
    p_values text[],
    p_ios text[],
    p_locations text[],
    p_versions text[],
    p_errors text[],
    p_delays bigint[],
    p_durations integer[],
    p_waits text[]
)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
    SET lock_timeout = '5s'
AS $$
DECLARE
    v_settled flowstone_settled;
BEGIN
    IF current_setting('flowstone_transaction.token', true) IS DISTINCT FROM p_token THEN
        RAISE EXCEPTION 'the function ended the transaction itself' USING ERRCODE = 'FS003';
    END IF;
    PERFORM FROM flowstone_workers w WHERE w.id = p_worker;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % was given up', p_worker
            USING ERRCODE = 'FS001', HINT = 'Its work was taken over; register again.';
    END IF;

    v_settled := flowstone_settle(
        p_worker, p_ids, p_claims, p_events, p_values, p_ios, p_locations, p_versions, p_errors, p_delays,
        p_durations, p_waits
    );
    IF v_settled.made_ready IS NOT NULL THEN
        PERFORM flowstone_enqueue_ready(v_settled.made_ready);
        PERFORM flowstone_notify_queues(v_settled.made_ready);
    END IF;
    RETURN v_settled.refused IS NULL;
END;
$$;
