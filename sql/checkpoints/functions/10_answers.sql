-- How Python gets an approval: the row, and how a request concerning it went.
CREATE TYPE checkpoints_answer AS (
    outcome text, id bigint, run_id bigint, asset text, partition text, status text,
    message text, value text, decided_value text, approvers text[], requested_at timestamptz,
    deadline_at timestamptz, remaining_ms bigint, escalation_count integer, escalated_by text,
    escalated_at timestamptz, decided_by text, decided_at timestamptz, reason text
);

CREATE FUNCTION checkpoints_answer(p_outcome text, p_approval checkpoints_approvals)
    RETURNS checkpoints_answer
    LANGUAGE sql
AS $$
    SELECT
        p_outcome, p_approval.materialization_id, p_approval.run_id, p_approval.asset, p_approval.partition,
        p_approval.status, p_approval.message, p_approval.value::text,
        p_approval.decided_value::text, p_approval.approvers, p_approval.requested_at, p_approval.deadline_at,
        -- Up, so that who waits for so long finds it passed.
        CASE WHEN p_approval.decided_at IS NULL THEN
            ceil(extract(epoch FROM p_approval.deadline_at - clock_timestamp()) * 1000)::bigint
        END,
        p_approval.escalation_count, p_approval.escalated_by, p_approval.escalated_at, p_approval.decided_by,
        p_approval.decided_at, p_approval.reason;
$$;

-- Note that something has happened to an approval, for notifiers, and wake who tells them.
CREATE FUNCTION checkpoints_note(p_approval checkpoints_approvals, p_event text)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO checkpoints_notices (materialization_id, event, due_at)
    VALUES (p_approval.materialization_id, p_event, clock_timestamp());
    PERFORM pg_notify('flowstone#' || current_schema(), '{"topics": ["checkpoints"]}');
END;
$$;

-- Note when to remind of an approval, in the place of what was noted before.
CREATE FUNCTION checkpoints_set_reminders(p_approval checkpoints_approvals)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM checkpoints_notices n
    WHERE n.materialization_id = p_approval.materialization_id AND n.event = 'reminder';
    IF p_approval.decided_at IS NULL THEN
        INSERT INTO checkpoints_notices (materialization_id, event, due_at)
        SELECT p_approval.materialization_id, 'reminder', reminder.at
        FROM (SELECT p_approval.deadline_at - unnest(p_approval.reminders_ms) * interval '1 ms') reminder(at)
        WHERE reminder.at > clock_timestamp();
    END IF;
END;
$$;

-- Hold a value until somebody has decided about it; returns the approval, nothing when the claim is over.
--
-- A repeat, by another attempt as well, returns the first one as it stands. Locks: materialization.
CREATE FUNCTION checkpoints_request_v1(
    p_materialization bigint, p_claim integer, p_message text, p_value text, p_approvers text[],
    p_on_timeout text, p_escalate_to text[], p_timeout_ms bigint, p_reminders_ms bigint[]
)
    RETURNS SETOF checkpoints_answer
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
    v_approval checkpoints_approvals;
BEGIN
    PERFORM FROM flowstone_materializations m
    WHERE m.id = p_materialization AND m.claim = p_claim AND m.status = 'running'
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO v_approval FROM checkpoints_approvals a WHERE a.materialization_id = p_materialization;
    IF NOT FOUND THEN
        INSERT INTO checkpoints_approvals (
            materialization_id, run_id, asset, partition, message, value, approvers, on_timeout, escalate_to,
            timeout_ms, reminders_ms, requested_at, deadline_at
        )
        SELECT
            m.id, m.run_id, m.asset, m.partition, p_message, p_value::json, p_approvers, p_on_timeout,
            p_escalate_to, p_timeout_ms, p_reminders_ms, v_now, v_now + p_timeout_ms * interval '1 ms'
        FROM flowstone_materializations m
        WHERE m.id = p_materialization
        RETURNING * INTO v_approval;
        -- So that an end without a wait closes it, too.
        PERFORM flowstone_expect_waits(ARRAY[p_materialization]);
        PERFORM checkpoints_note(v_approval, 'requested');
        PERFORM checkpoints_set_reminders(v_approval);
    END IF;
    RETURN NEXT checkpoints_answer('requested', v_approval);
END;
$$;

-- One approval; no row when there is none.
CREATE FUNCTION checkpoints_get_v1(p_id bigint)
    RETURNS SETOF checkpoints_answer
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT answer.*
    FROM checkpoints_approvals a
    CROSS JOIN LATERAL checkpoints_answer('found', a) answer
    WHERE a.materialization_id = p_id;
$$;

-- Approvals below p_before, newest first; p_is_open, p_asset, p_approver: null is any.
--
-- p_approver: those that this one, a person or a group, may decide.
CREATE FUNCTION checkpoints_list_v1(
    p_is_open boolean, p_asset text, p_approver text, p_before bigint, p_limit integer
)
    RETURNS SETOF checkpoints_answer
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
        SELECT answer.*
        FROM checkpoints_approvals a
        CROSS JOIN LATERAL checkpoints_answer('found', a) answer
        WHERE a.decided_at IS NULL
            AND a.materialization_id < p_before
            AND (p_asset IS NULL OR a.asset = p_asset)
            AND (p_approver IS NULL OR a.approvers = '{}' OR p_approver = ANY (a.approvers))
        ORDER BY a.materialization_id DESC
        LIMIT p_limit;
    ELSE
        RETURN QUERY
        SELECT answer.*
        FROM checkpoints_approvals a
        CROSS JOIN LATERAL checkpoints_answer('found', a) answer
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
    RETURNS SETOF checkpoints_answer
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
    SELECT answer.*
    FROM checkpoints_approvals a
    CROSS JOIN LATERAL checkpoints_answer('found', a) answer
    WHERE a.run_id = p_run;
$$;
