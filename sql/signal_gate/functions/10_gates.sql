-- What identifies a token in an index.
CREATE FUNCTION signal_gate_hash(p_token text)
    RETURNS text
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT left(encode(sha256(convert_to(p_token, 'UTF8')), 'hex'), 32);
$$;

-- A gate as Python reads it, and the answer to who has asked about it.
CREATE TYPE signal_gate_record AS (
    id bigint, materialization_id bigint, run_id bigint, asset text, partition text, attempt integer, token text,
    status text, opened_at timestamptz, timeout_at timestamptz, remaining_ms bigint, timeout_action text,
    timeout_retries integer, max_timeout_retries integer, metadata text, signaled_at timestamptz, payload text,
    sender text, is_checked boolean, ended_at timestamptz, waited_ms bigint, failures text[],
    answer text
);

-- One row; as a set, the planner takes it into the query that it is called in.
CREATE FUNCTION signal_gate_read(p_gate signal_gate_gates, p_answer text DEFAULT NULL)
    RETURNS SETOF signal_gate_record
    LANGUAGE sql
    STABLE
AS $$
    SELECT
        p_gate.id, p_gate.materialization_id, p_gate.run_id, p_gate.asset, p_gate.partition, p_gate.attempt,
        p_gate.token, p_gate.status, p_gate.opened_at, p_gate.timeout_at,
        CASE WHEN p_gate.timeout_at IS NOT NULL
            THEN greatest(0, ceil(extract(epoch FROM p_gate.timeout_at - clock_timestamp()) * 1000))::bigint
        END,
        p_gate.timeout_action, p_gate.timeout_retries, p_gate.max_timeout_retries, p_gate.metadata::text,
        p_gate.signaled_at, p_gate.payload::text, p_gate.sender::text, p_gate.is_checked, p_gate.ended_at,
        (extract(epoch FROM coalesce(p_gate.ended_at, clock_timestamp()) - p_gate.opened_at) * 1000)::bigint,
        ARRAY(
            SELECT coalesce(e.error ->> 'code', '')
            FROM flowstone_errors e
            WHERE e.materialization_id = p_gate.materialization_id AND e.attempt >= p_gate.attempt
            ORDER BY e.claim
        ),
        p_answer;
$$;

-- Close the open gates of materializations whose waits are deleted: they have ended.
CREATE FUNCTION signal_gate_close()
    RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE signal_gate_gates g
    SET status = 'cancelled', ended_at = clock_timestamp()
    WHERE g.materialization_id = ANY (ARRAY(SELECT o.materialization_id FROM over o)) AND g.ended_at IS NULL;
    RETURN NULL;
END;
$$;

CREATE TRIGGER signal_gate_closes
    AFTER DELETE ON flowstone_waits
    REFERENCING OLD TABLE AS over
    FOR EACH STATEMENT
    EXECUTE FUNCTION signal_gate_close();
