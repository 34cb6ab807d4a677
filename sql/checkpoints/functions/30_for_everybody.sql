-- For everybody who speaks SQL: decide, in a transaction of your own. Each returns the approval's status.
--
-- Refusals are errors: FS040 it is closed, FS041 this one may not decide, FS042 there is no such approval, FS043
-- nobody is named.

CREATE FUNCTION checkpoints_check_named(p_names text[], p_what text)
    RETURNS void
    LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(cardinality(p_names), 0) = 0
        OR EXISTS (SELECT FROM unnest(p_names) n(name) WHERE coalesce(trim(n.name), '') = '')
    THEN
        RAISE EXCEPTION '% is not said', p_what USING ERRCODE = 'FS043';
    END IF;
END;
$$;

CREATE FUNCTION checkpoints_told(p_id bigint, p_by text, p_approval checkpoints_record)
    RETURNS text
    LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(p_approval.answer, 'absent') = 'absent' THEN
        RAISE EXCEPTION 'there is no approval %', p_id USING ERRCODE = 'FS042', DETAIL = p_id;
    ELSIF p_approval.answer = 'closed' THEN
        RAISE EXCEPTION 'approval % was %', p_id,
            concat_ws(' ', p_approval.status, 'by ' || p_approval.decided_by, 'at ' || p_approval.decided_at)
            USING ERRCODE = 'FS040', DETAIL = p_id;
    ELSIF p_approval.answer = 'forbidden' THEN
        RAISE EXCEPTION '% may not decide approval %', p_by, p_id
            USING ERRCODE = 'FS041',
                DETAIL = p_id,
                HINT = 'These may: ' || array_to_string(p_approval.approvers, ', ')
                    || '. Groups of the one who decides go into p_groups.';
    END IF;
    RETURN p_approval.status;
END;
$$;

CREATE FUNCTION checkpoints_said(
    p_id bigint, p_verdict text, p_by text, p_groups text[], p_reason text, p_value json
)
    RETURNS json
    LANGUAGE sql
AS $$
    SELECT json_build_array(json_build_object(
        'id', p_id, 'verdict', p_verdict, 'by_whom', p_by, 'of_groups', p_groups, 'reason', p_reason,
        'value', p_value::text
    ));
$$;

-- p_value: takes the place of the value that is held; null leaves that.
CREATE FUNCTION checkpoints_approve(
    p_id bigint, p_by text, p_reason text DEFAULT '', p_value json DEFAULT NULL, p_groups text[] DEFAULT '{}'
)
    RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_approval checkpoints_record;
BEGIN
    PERFORM checkpoints_check_named(ARRAY[p_by], 'who decides');
    SELECT * INTO v_approval
    FROM checkpoints_decide_v1(checkpoints_said(p_id, 'approve', p_by, p_groups, p_reason, p_value), true);
    RETURN checkpoints_told(p_id, p_by, v_approval);
END;
$$;

CREATE FUNCTION checkpoints_reject(p_id bigint, p_by text, p_reason text DEFAULT '', p_groups text[] DEFAULT '{}')
    RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_approval checkpoints_record;
BEGIN
    PERFORM checkpoints_check_named(ARRAY[p_by], 'who decides');
    SELECT * INTO v_approval
    FROM checkpoints_decide_v1(checkpoints_said(p_id, 'reject', p_by, p_groups, p_reason, NULL), true);
    RETURN checkpoints_told(p_id, p_by, v_approval);
END;
$$;

-- p_timeout: how long they have from now; null is as long as was said first.
CREATE FUNCTION checkpoints_escalate(
    p_id bigint, p_by text, p_to text[], p_reason text DEFAULT '', p_timeout interval DEFAULT NULL,
    p_groups text[] DEFAULT '{}'
)
    RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_approval checkpoints_record;
BEGIN
    PERFORM checkpoints_check_named(ARRAY[p_by], 'who decides');
    PERFORM checkpoints_check_named(p_to, 'who is to decide then');
    SELECT * INTO v_approval
    FROM checkpoints_escalate_v1(
        p_id, p_by, p_groups, p_to, p_reason, (extract(epoch FROM p_timeout) * 1000)::bigint
    );
    RETURN checkpoints_told(p_id, p_by, v_approval);
END;
$$;
