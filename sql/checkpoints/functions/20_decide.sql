-- Decisions: each takes effect once, together with the wake-up of what waits for it.

-- Do what a deadline says that has passed. The caller holds the approval's row, if it is open.
CREATE FUNCTION checkpoints_pass_deadline(p_approval checkpoints_approvals)
    RETURNS checkpoints_approvals
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_approval checkpoints_approvals;
BEGIN
    IF p_approval.decided_at IS NOT NULL OR p_approval.deadline_at IS NULL OR p_approval.deadline_at > v_now THEN
        RETURN p_approval;
    END IF;
    IF p_approval.on_timeout = 'escalate' AND p_approval.approvers <> p_approval.escalate_to THEN
        UPDATE checkpoints_approvals a
        SET status = 'escalated',
            approvers = a.escalate_to,
            escalation_count = a.escalation_count + 1,
            escalated_by = NULL,
            escalated_at = v_now,
            deadline_at = v_now + a.timeout_ms * interval '1 ms'
        WHERE a.materialization_id = p_approval.materialization_id
        RETURNING a.* INTO v_approval;
    ELSE
        -- One that was escalated already and is on nobody's table any more expires.
        UPDATE checkpoints_approvals a
        SET status = CASE WHEN a.on_timeout = 'approve' THEN 'approved' ELSE 'expired' END,
            decided_at = v_now,
            reason = 'nobody decided in time'
        WHERE a.materialization_id = p_approval.materialization_id
        RETURNING a.* INTO v_approval;
    END IF;
    PERFORM checkpoints_note(v_approval, v_approval.status);
    PERFORM checkpoints_set_reminders(v_approval);
    RETURN v_approval;
END;
$$;

-- Do what the approval's deadline says, if it has passed; returns the approval as it stands then.
CREATE FUNCTION checkpoints_expire_v1(p_id bigint)
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
    v_approval checkpoints_approvals;
BEGIN
    SELECT * INTO v_approval FROM checkpoints_approvals a WHERE a.materialization_id = p_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Mostly it has not passed: then nothing is locked, and so nothing has to be written.
    IF v_approval.decided_at IS NULL AND v_approval.deadline_at <= clock_timestamp() THEN
        SELECT * INTO v_approval FROM checkpoints_approvals a WHERE a.materialization_id = p_id FOR UPDATE;
        v_approval := checkpoints_pass_deadline(v_approval);
    END IF;
    RETURN NEXT checkpoints_answer('found', v_approval);
END;
$$;

-- Whether one of these is among the approvers.
CREATE FUNCTION checkpoints_may_decide(p_approvers text[], p_by text, p_groups text[])
    RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT p_approvers = '{}' OR p_approvers && (p_groups || p_by);
$$;

-- Lock what a decision changes, in the order of the whole schema; the deadline has had its say then.
CREATE FUNCTION checkpoints_locked(p_id bigint)
    RETURNS checkpoints_approvals
    LANGUAGE plpgsql
AS $$
DECLARE
    v_approval checkpoints_approvals;
BEGIN
    PERFORM FROM procrastinate_jobs j WHERE j.id = p_id FOR UPDATE;
    PERFORM FROM flowstone_materializations m WHERE m.id = p_id FOR UPDATE;
    SELECT * INTO v_approval FROM checkpoints_approvals a WHERE a.materialization_id = p_id FOR UPDATE;
    RETURN checkpoints_pass_deadline(v_approval);
END;
$$;

-- Approve, modify (p_value) or reject, once, and let the materialization go on.
--
-- The outcome is 'decided'; 'repeated' when the same one has said the same before; 'closed' when it is decided
-- otherwise, has expired or was cancelled; 'forbidden' when this one may not decide. There is no row when there
-- is no such approval. p_groups: what the caller vouches that p_by belongs to.
CREATE FUNCTION checkpoints_decide_v1(
    p_id bigint, p_verdict text, p_by text, p_groups text[], p_reason text, p_value text
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
    v_approval checkpoints_approvals := checkpoints_locked(p_id);
    v_status text := CASE
        WHEN p_verdict = 'reject' THEN 'rejected'
        WHEN p_value IS NULL THEN 'approved'
        ELSE 'modified'
    END;
BEGIN
    IF v_approval.materialization_id IS NULL THEN
        RETURN;
    END IF;
    IF v_approval.decided_at IS NOT NULL THEN
        IF v_approval.status = v_status
            AND v_approval.decided_by = p_by
            AND v_approval.decided_value::text IS NOT DISTINCT FROM p_value
        THEN
            RETURN NEXT checkpoints_answer('repeated', v_approval);
        ELSE
            RETURN NEXT checkpoints_answer('closed', v_approval);
        END IF;
        RETURN;
    END IF;
    IF NOT checkpoints_may_decide(v_approval.approvers, p_by, p_groups) THEN
        RETURN NEXT checkpoints_answer('forbidden', v_approval);
        RETURN;
    END IF;

    UPDATE checkpoints_approvals a
    SET status = v_status,
        decided_by = p_by,
        decided_at = clock_timestamp(),
        reason = p_reason,
        decided_value = p_value::json
    WHERE a.materialization_id = p_id
    RETURNING a.* INTO v_approval;
    PERFORM checkpoints_note(v_approval, v_status);
    PERFORM checkpoints_set_reminders(v_approval);
    PERFORM flowstone_wake_v1(p_id, json_build_object('status', v_approval.status)::text);
    RETURN NEXT checkpoints_answer('decided', v_approval);
END;
$$;

-- Let others decide, within p_timeout_ms from now (null: as long as was said first).
--
-- Outcomes as of decide; 'repeated' when the same one has passed it on to the same before, and they still have it.
CREATE FUNCTION checkpoints_escalate_v1(
    p_id bigint, p_by text, p_groups text[], p_to text[], p_reason text, p_timeout_ms bigint
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
    v_approval checkpoints_approvals := checkpoints_locked(p_id);
    v_now timestamptz := clock_timestamp();
BEGIN
    IF v_approval.materialization_id IS NULL THEN
        RETURN;
    END IF;
    IF v_approval.decided_at IS NOT NULL THEN
        RETURN NEXT checkpoints_answer('closed', v_approval);
    ELSIF v_approval.escalated_by = p_by AND v_approval.approvers = p_to THEN
        RETURN NEXT checkpoints_answer('repeated', v_approval);
    ELSIF NOT checkpoints_may_decide(v_approval.approvers, p_by, p_groups) THEN
        RETURN NEXT checkpoints_answer('forbidden', v_approval);
    ELSE
        UPDATE checkpoints_approvals a
        SET status = 'escalated',
            approvers = p_to,
            escalation_count = a.escalation_count + 1,
            escalated_by = p_by,
            escalated_at = v_now,
            deadline_at = v_now + coalesce(p_timeout_ms, a.timeout_ms) * interval '1 ms',
            reason = p_reason
        WHERE a.materialization_id = p_id
        RETURNING a.* INTO v_approval;
        PERFORM checkpoints_note(v_approval, 'escalated');
        PERFORM checkpoints_set_reminders(v_approval);
        -- It waits anew then: until another deadline, on somebody else.
        PERFORM flowstone_wake_v1(p_id, json_build_object('status', v_approval.status)::text);
        RETURN NEXT checkpoints_answer('decided', v_approval);
    END IF;
END;
$$;

-- Close the approvals of materializations that have ended, in the transaction that ends them: whatever ends one
-- that waits, or has asked, deletes its wait.
CREATE FUNCTION checkpoints_close_ended()
    RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_approval checkpoints_approvals;
BEGIN
    FOR v_approval IN
        UPDATE checkpoints_approvals a
        SET status = 'cancelled', decided_at = clock_timestamp(), reason = 'its materialization has ended'
        WHERE a.materialization_id = ANY (ARRAY(SELECT gone.materialization_id FROM gone))
            AND a.decided_at IS NULL
        RETURNING a.*
    LOOP
        PERFORM checkpoints_note(v_approval, 'cancelled');
        PERFORM checkpoints_set_reminders(v_approval);
    END LOOP;
    RETURN NULL;
END;
$$;

CREATE TRIGGER checkpoints_close_ended
    AFTER DELETE ON flowstone_waits
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT
    EXECUTE FUNCTION checkpoints_close_ended();
