-- Lock gates, in the order of the schema, and return which are locked: all with p_waits, otherwise those that
-- nobody has.
CREATE FUNCTION signal_gate_lock(p_gates bigint[], p_waits boolean)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
DECLARE
    v_of bigint[] := flowstone_lock_waits(
        ARRAY(SELECT g.materialization_id FROM signal_gate_gates g WHERE g.id = ANY (p_gates)), p_waits
    );
BEGIN
    IF p_waits THEN
        RETURN ARRAY(SELECT g.id FROM signal_gate_gates g WHERE g.id = ANY (p_gates) ORDER BY g.id FOR UPDATE);
    END IF;
    RETURN ARRAY(
        SELECT g.id
        FROM signal_gate_gates g
        WHERE g.id = ANY (p_gates) AND g.materialization_id = ANY (v_of)
        ORDER BY g.id
        FOR UPDATE SKIP LOCKED
    );
END;
$$;

-- Lock a token, so that nobody opens a gate or keeps a signal under it; false: somebody has it, and p_waits does
-- not wait for that.
CREATE FUNCTION signal_gate_lock_token(p_hash text, p_waits boolean)
    RETURNS boolean
    LANGUAGE plpgsql
AS $$
BEGIN
    IF p_waits THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_hash, 0));
        RETURN true;
    END IF;
    RETURN pg_try_advisory_xact_lock(hashtextextended(p_hash, 0));
END;
$$;
