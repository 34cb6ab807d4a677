-- An approval as Python reads it, and the answer to who has asked about it.
CREATE TYPE checkpoints_record AS (
    answer text, id bigint, run_id bigint, asset text, partition text, status text,
    message text, value text, decided_value text, approvers text[], requested_at timestamptz,
    deadline_at timestamptz, remaining_ms bigint, escalation_count integer, escalated_by text,
    escalated_at timestamptz, decided_by text, decided_at timestamptz, reason text
);

CREATE FUNCTION checkpoints_read(p_approval checkpoints_approvals, p_answer text DEFAULT NULL)
    RETURNS checkpoints_record
    LANGUAGE sql
AS $$
    SELECT
        p_answer, p_approval.materialization_id, p_approval.run_id, p_approval.asset, p_approval.partition,
        p_approval.status, p_approval.message, p_approval.value::text,
        p_approval.decided_value::text, p_approval.approvers, p_approval.requested_at, p_approval.deadline_at,
        -- Up, so that who waits for so long finds it passed.
        CASE WHEN p_approval.decided_at IS NULL THEN
            ceil(extract(epoch FROM p_approval.deadline_at - clock_timestamp()) * 1000)::bigint
        END,
        p_approval.escalation_count, p_approval.escalated_by, p_approval.escalated_at, p_approval.decided_by,
        p_approval.decided_at, p_approval.reason;
$$;

-- Note for notifiers what approvals have come to, and when to remind of them, in the place of what was noted
-- before; and wake who tells them.
CREATE FUNCTION checkpoints_note(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    DELETE FROM checkpoints_notices n WHERE n.materialization_id = ANY (p_ids) AND n.event = 'reminder';
    INSERT INTO checkpoints_notices (materialization_id, event, due_at)
    SELECT a.materialization_id, notice.event, notice.due_at
    FROM checkpoints_approvals a
    CROSS JOIN LATERAL (
        SELECT CASE a.status WHEN 'pending' THEN 'requested' ELSE a.status END AS event, v_now AS due_at
        UNION ALL
        SELECT 'reminder', a.deadline_at - before.ms * interval '1 ms'
        FROM unnest(a.reminders_ms) before(ms)
        WHERE a.decided_at IS NULL AND a.deadline_at - before.ms * interval '1 ms' > v_now
    ) notice
    WHERE a.materialization_id = ANY (p_ids);
    PERFORM pg_notify('flowstone#' || current_schema(), '{"topics": ["checkpoints"]}');
END;
$$;

-- Hold values until somebody has decided about them; a row each, in the order asked.
--
-- p_asked: objects, with the names of the columns. The answer is 'requested'; of a repeat, by another attempt as
-- well, that is the first one as it stands; 'lost' when the claim is over; 'busy' when somebody has its row, and
-- p_waits does not wait for that. Locks: jobs, materializations.
CREATE FUNCTION checkpoints_request_v1(p_asked json, p_waits boolean)
    RETURNS SETOF checkpoints_record
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_locked bigint[];
    v_new bigint[];
BEGIN
    v_locked := flowstone_lock_waits(
        ARRAY(SELECT asked.id FROM json_to_recordset(p_asked) AS asked(id bigint)), p_waits
    );
    WITH requested AS (
        INSERT INTO checkpoints_approvals AS a (
            materialization_id, run_id, asset, partition, message, value, approvers, on_timeout, escalate_to,
            timeout_ms, reminders_ms, requested_at, deadline_at
        )
        SELECT
            m.id, m.run_id, m.asset, m.partition, asked.message, asked.value::json, asked.approvers,
            asked.on_timeout, asked.escalate_to, asked.timeout_ms, asked.reminders_ms, v_now,
            v_now + asked.timeout_ms * interval '1 ms'
        FROM json_to_recordset(p_asked) AS asked(
            id bigint, claim integer, message text, value text, approvers text[], on_timeout text,
            escalate_to text[], timeout_ms bigint, reminders_ms bigint[]
        )
        JOIN flowstone_materializations m ON m.id = asked.id
        WHERE m.id = ANY (v_locked) AND m.claim = asked.claim AND m.status = 'running'
        ON CONFLICT (materialization_id) DO NOTHING
        RETURNING a.materialization_id
    )
    SELECT array_agg(requested.materialization_id) INTO v_new FROM requested;
    IF v_new IS NOT NULL THEN
        -- So that an end without a wait closes it, too.
        PERFORM flowstone_expect_waits(v_new);
        PERFORM checkpoints_note(v_new);
    END IF;
    RETURN QUERY
    SELECT approval.*
    FROM ROWS FROM (
        json_to_recordset(p_asked) AS (id bigint, claim integer)
    ) WITH ORDINALITY AS asked(id, claim, place)
    LEFT JOIN flowstone_materializations m ON m.id = asked.id
    LEFT JOIN checkpoints_approvals a ON a.materialization_id = asked.id
    CROSS JOIN LATERAL checkpoints_read(
        a,
        CASE
            WHEN asked.id <> ALL (v_locked) THEN 'busy'
            WHEN m.claim = asked.claim AND m.status = 'running' THEN 'requested'
            ELSE 'lost'
        END
    ) approval
    ORDER BY asked.place;
END;
$$;

-- One approval; no row when there is none.
CREATE FUNCTION checkpoints_get_v1(p_id bigint)
    RETURNS SETOF checkpoints_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT approval.*
    FROM checkpoints_approvals a
    CROSS JOIN LATERAL checkpoints_read(a) approval
    WHERE a.materialization_id = p_id;
$$;

-- Approvals below p_before, newest first; p_is_open, p_asset, p_approver: null is any.
--
-- p_approver: those that this one, a person or a group, may decide.
CREATE FUNCTION checkpoints_list_v1(
    p_is_open boolean, p_asset text, p_approver text, p_before bigint, p_limit integer
)
    RETURNS SETOF checkpoints_record
    LANGUAGE plpgsql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_bitmapscan = off
    SET enable_sort = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF p_is_open THEN
        RETURN QUERY
        SELECT approval.*
        FROM checkpoints_approvals a
        CROSS JOIN LATERAL checkpoints_read(a) approval
        WHERE a.decided_at IS NULL
            AND a.materialization_id < p_before
            AND (p_asset IS NULL OR a.asset = p_asset)
            AND (p_approver IS NULL OR a.approvers = '{}' OR p_approver = ANY (a.approvers))
        ORDER BY a.materialization_id DESC
        LIMIT p_limit;
    ELSE
        RETURN QUERY
        SELECT approval.*
        FROM checkpoints_approvals a
        CROSS JOIN LATERAL checkpoints_read(a) approval
        WHERE (p_is_open IS NULL OR a.decided_at IS NOT NULL)
            AND a.materialization_id < p_before
            AND (p_asset IS NULL OR a.asset = p_asset)
            AND (p_approver IS NULL OR a.approvers = '{}' OR p_approver = ANY (a.approvers))
        ORDER BY a.materialization_id DESC
        LIMIT p_limit;
    END IF;
END;
$$;

-- What is to be said of a run's materializations, for who looks at it.
CREATE FUNCTION checkpoints_of_run_v1(p_run bigint)
    RETURNS SETOF checkpoints_record
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT approval.*
    FROM checkpoints_approvals a
    CROSS JOIN LATERAL checkpoints_read(a) approval
    WHERE a.run_id = p_run;
$$;
