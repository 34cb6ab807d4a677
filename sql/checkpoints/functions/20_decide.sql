-- Decisions: each takes effect once, together with the wake-up of what waits for it.

-- Do what the deadlines say that have passed; the caller has locked these approvals.
CREATE FUNCTION checkpoints_pass_deadlines(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_due bigint[] := ARRAY(
        SELECT a.materialization_id
        FROM checkpoints_approvals a
        WHERE a.materialization_id = ANY (p_ids) AND a.decided_at IS NULL AND a.deadline_at <= v_now
    );
BEGIN
    IF v_due = '{}' THEN
        RETURN;
    END IF;
    UPDATE checkpoints_approvals a
    SET status = 'escalated',
        approvers = a.escalate_to,
        escalation_count = a.escalation_count + 1,
        escalated_by = NULL,
        escalated_at = v_now,
        deadline_at = v_now + a.timeout_ms * interval '1 ms'
    WHERE a.materialization_id = ANY (v_due) AND a.on_timeout = 'escalate' AND a.approvers <> a.escalate_to;
    -- One that was escalated already and is on nobody's table any more expires.
    UPDATE checkpoints_approvals a
    SET status = CASE WHEN a.on_timeout = 'approve' THEN 'approved' ELSE 'expired' END,
        decided_at = v_now,
        reason = 'nobody decided in time'
    WHERE a.materialization_id = ANY (v_due) AND a.deadline_at <= v_now;
    PERFORM checkpoints_note(v_due);
END;
$$;

-- What an approval comes to that is decided so.
CREATE FUNCTION checkpoints_status(p_verdict text, p_value text)
    RETURNS text
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT CASE WHEN p_verdict = 'reject' THEN 'rejected' WHEN p_value IS NULL THEN 'approved' ELSE 'modified' END;
$$;

-- Lock what decisions change, in the order of the whole schema; the deadlines have had their say then.
--
-- Returns which are locked: all with p_waits, otherwise those that nobody has.
CREATE FUNCTION checkpoints_lock(p_ids bigint[], p_waits boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_locked bigint[] := flowstone_lock_waits(p_ids, p_waits);
BEGIN
    IF p_waits THEN
        PERFORM FROM checkpoints_approvals a WHERE a.materialization_id = ANY (v_locked)
        ORDER BY a.materialization_id
        FOR UPDATE;
    ELSE
        v_locked := ARRAY(
            SELECT a.materialization_id FROM checkpoints_approvals a WHERE a.materialization_id = ANY (v_locked)
            ORDER BY a.materialization_id
            FOR UPDATE SKIP LOCKED
        );
    END IF;
    PERFORM checkpoints_pass_deadlines(v_locked);
    RETURN v_locked;
END;
$$;

-- Do what deadlines say, if they have passed; a row each, in the order asked, as the approval stands then.
--
-- The answer is 'found', 'absent', or 'busy' when somebody has its row, and p_waits does not wait for that.
CREATE FUNCTION checkpoints_expire_v1(p_ids bigint[], p_waits boolean)
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
    -- Mostly none has passed: then nothing is locked, and so nothing has to be written.
    v_due bigint[] := ARRAY(
        SELECT a.materialization_id
        FROM checkpoints_approvals a
        WHERE a.materialization_id = ANY (p_ids) AND a.decided_at IS NULL AND a.deadline_at <= clock_timestamp()
    );
    v_locked bigint[];
BEGIN
    IF v_due <> '{}' THEN
        v_locked := checkpoints_lock(v_due, p_waits);
    END IF;
    RETURN QUERY
    SELECT approval.*
    FROM unnest(p_ids) WITH ORDINALITY AS asked(id, place)
    LEFT JOIN checkpoints_approvals a ON a.materialization_id = asked.id
    CROSS JOIN LATERAL checkpoints_read(
        a,
        CASE
            WHEN a.materialization_id IS NULL THEN 'absent'
            WHEN asked.id = ANY (v_due) AND asked.id <> ALL (v_locked) THEN 'busy'
            ELSE 'found'
        END
    ) approval
    ORDER BY asked.place;
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

-- Approve, modify (with a value) or reject, each approval once, and let the materializations go on.
--
-- p_said: objects of id, verdict ('approve', 'reject'), by_whom, of_groups (what the caller vouches that this one
-- belongs to), reason, value. Returns a row each, in the order said, with an answer: 'decided'; 'repeated' when the
-- same one has said the same before; 'closed' when it is decided otherwise, has expired or was cancelled; 'forbidden'
-- when this one may not decide; 'absent' when there is no such approval; 'busy' when somebody has its row, and p_waits
-- does not wait for that. Of several about one the first that may has decided.
CREATE FUNCTION checkpoints_decide_v1(p_said json, p_waits boolean)
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
    v_locked bigint[];
    v_places bigint[];
    v_decided bigint[];
BEGIN
    v_locked := checkpoints_lock(
        ARRAY(SELECT DISTINCT said.id FROM json_to_recordset(p_said) AS said(id bigint)), p_waits
    );
    v_places := ARRAY(
        SELECT DISTINCT ON (said.id) said.place
        FROM ROWS FROM (
            json_to_recordset(p_said) AS (id bigint, by_whom text, of_groups text[])
        ) WITH ORDINALITY AS said(id, by_whom, of_groups, place)
        JOIN checkpoints_approvals a ON a.materialization_id = said.id
        WHERE a.materialization_id = ANY (v_locked)
            AND a.decided_at IS NULL
            AND checkpoints_may_decide(a.approvers, said.by_whom, said.of_groups)
        ORDER BY said.id, said.place
    );
    IF v_places <> '{}' THEN
        WITH decided AS (
            UPDATE checkpoints_approvals a
            SET status = checkpoints_status(said.verdict, said.value),
                decided_by = said.by_whom,
                decided_at = clock_timestamp(),
                reason = said.reason,
                decided_value = said.value::json
            FROM ROWS FROM (
                json_to_recordset(p_said) AS (id bigint, verdict text, by_whom text, reason text, value text)
            ) WITH ORDINALITY AS said(id, verdict, by_whom, reason, value, place)
            WHERE a.materialization_id = said.id AND said.place = ANY (v_places)
            RETURNING a.materialization_id
        )
        SELECT array_agg(decided.materialization_id) INTO v_decided FROM decided;
        PERFORM checkpoints_note(v_decided);
        PERFORM flowstone_wake(v_decided, 'null');
    END IF;
    RETURN QUERY
    SELECT approval.*
    FROM ROWS FROM (
        json_to_recordset(p_said) AS (id bigint, verdict text, by_whom text, value text)
    ) WITH ORDINALITY AS said(id, verdict, by_whom, value, place)
    LEFT JOIN checkpoints_approvals a ON a.materialization_id = said.id
    CROSS JOIN LATERAL checkpoints_read(
        a,
        CASE
            WHEN said.place = ANY (v_places) THEN 'decided'
            WHEN a.materialization_id IS NULL THEN 'absent'
            WHEN said.id <> ALL (v_locked) THEN 'busy'
            WHEN a.decided_at IS NULL THEN 'forbidden'
            WHEN a.status = checkpoints_status(said.verdict, said.value)
                AND a.decided_by = said.by_whom
                AND a.decided_value::text IS NOT DISTINCT FROM said.value
            THEN 'repeated'
            ELSE 'closed'
        END
    ) approval
    ORDER BY said.place;
END;
$$;

-- Let others decide, within p_timeout_ms from now (null: as long as was said first).
--
-- Answers as of decide; 'repeated' when the same one has passed it on to the same before, and they still have it.
CREATE FUNCTION checkpoints_escalate_v1(
    p_id bigint, p_by text, p_groups text[], p_to text[], p_reason text, p_timeout_ms bigint
)
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
    v_approval checkpoints_approvals;
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM checkpoints_lock(ARRAY[p_id], true);
    SELECT * INTO v_approval FROM checkpoints_approvals a WHERE a.materialization_id = p_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_approval.decided_at IS NOT NULL THEN
        RETURN NEXT checkpoints_read(v_approval, 'closed');
    ELSIF v_approval.escalated_by = p_by AND v_approval.approvers = p_to THEN
        RETURN NEXT checkpoints_read(v_approval, 'repeated');
    ELSIF NOT checkpoints_may_decide(v_approval.approvers, p_by, p_groups) THEN
        RETURN NEXT checkpoints_read(v_approval, 'forbidden');
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
        PERFORM checkpoints_note(ARRAY[p_id]);
        -- It waits anew then: until another deadline, on somebody else.
        PERFORM flowstone_wake(ARRAY[p_id], 'null');
        RETURN NEXT checkpoints_read(v_approval, 'decided');
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
    v_closed bigint[];
BEGIN
    WITH closed AS (
        UPDATE checkpoints_approvals a
        SET status = 'cancelled', decided_at = clock_timestamp(), reason = 'its materialization has ended'
        WHERE a.materialization_id = ANY (ARRAY(SELECT gone.materialization_id FROM gone))
            AND a.decided_at IS NULL
        RETURNING a.materialization_id
    )
    SELECT array_agg(closed.materialization_id) INTO v_closed FROM closed;
    IF v_closed IS NOT NULL THEN
        PERFORM checkpoints_note(v_closed);
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER checkpoints_close_ended
    AFTER DELETE ON flowstone_waits
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT
    EXECUTE FUNCTION checkpoints_close_ended();
