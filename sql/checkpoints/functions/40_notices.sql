-- What is to be told to notifiers: taken by who tells, and gone once it was told.

-- Take what is due, by the time of the statement: that is one which the index can be asked for.
--
-- Until it is settled it comes again: after 5 s, 10 s, 20 s …, at most an hour.
CREATE FUNCTION checkpoints_take_notices_v1(p_limit integer)
    RETURNS TABLE (
        notice_id bigint, event text, attempt integer, told text[],
        answer text, id bigint, run_id bigint, asset text, partition text, status text,
        message text, value text, decided_value text, approvers text[], requested_at timestamptz,
        deadline_at timestamptz, remaining_ms bigint, escalation_count integer, escalated_by text,
        escalated_at timestamptz, decided_by text, decided_at timestamptz, reason text
    )
    LANGUAGE sql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    WITH taken AS (
        UPDATE checkpoints_notices n
        SET attempts = n.attempts + 1,
            due_at = clock_timestamp() + least(5 * 2 ^ least(n.attempts, 10), 3600) * interval '1 s'
        WHERE n.id = ANY (ARRAY(
            SELECT due.id
            FROM checkpoints_notices due
            WHERE due.due_at <= statement_timestamp()
            ORDER BY due.due_at, due.id
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED
        ))
        RETURNING n.*
    )
    SELECT taken.id, taken.event, taken.attempts, taken.told, approval.*
    FROM taken
    JOIN checkpoints_approvals a ON a.materialization_id = taken.materialization_id
    CROSS JOIN LATERAL checkpoints_read(a) approval
    ORDER BY taken.id;
$$;

-- Say which notifiers have taken notices, each by an object of id, told and is_done: then it goes.
--
-- Returns a row each, in the order said: 'settled', or 'busy' when somebody has it, and p_waits does not wait for that.
CREATE FUNCTION checkpoints_settle_notices_v1(p_said json, p_waits boolean)
    RETURNS TABLE (answer text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_ids bigint[] := ARRAY(SELECT said.id FROM json_to_recordset(p_said) AS said(id bigint));
BEGIN
    IF NOT p_waits THEN
        v_ids := ARRAY(
            SELECT n.id FROM checkpoints_notices n WHERE n.id = ANY (v_ids) ORDER BY n.id FOR UPDATE SKIP LOCKED
        );
    END IF;
    DELETE FROM checkpoints_notices n
    USING json_to_recordset(p_said) AS said(id bigint, is_done boolean)
    WHERE n.id = said.id AND said.is_done AND n.id = ANY (v_ids);
    UPDATE checkpoints_notices n
    SET told = said.told
    FROM json_to_recordset(p_said) AS said(id bigint, told text[], is_done boolean)
    WHERE n.id = said.id AND NOT said.is_done AND n.id = ANY (v_ids);
    RETURN QUERY
    SELECT CASE
        WHEN said.id = ANY (v_ids) OR NOT EXISTS (SELECT FROM checkpoints_notices n WHERE n.id = said.id)
            THEN 'settled'
        ELSE 'busy'
    END
    FROM ROWS FROM (json_to_recordset(p_said) AS (id bigint)) WITH ORDINALITY AS said(id, place)
    ORDER BY said.place;
END;
$$;

-- In how many milliseconds the next one is due; null is never.
CREATE FUNCTION checkpoints_next_notice_v1()
    RETURNS bigint
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT greatest(0, ceil(extract(epoch FROM n.due_at - clock_timestamp()) * 1000))::bigint
    FROM checkpoints_notices n
    ORDER BY n.due_at
    LIMIT 1;
$$;
