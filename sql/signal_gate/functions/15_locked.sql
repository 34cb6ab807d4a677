-- A gate, locked in the order of the schema; null: there is none.
CREATE FUNCTION signal_gate_locked(p_gate bigint)
    RETURNS signal_gate_gates
    LANGUAGE plpgsql
AS $$
DECLARE
    v_gate signal_gate_gates;
BEGIN
    SELECT g.id, g.materialization_id INTO v_gate.id, v_gate.materialization_id
    FROM signal_gate_gates g
    WHERE g.id = p_gate;
    PERFORM FROM procrastinate_jobs j WHERE j.id = v_gate.materialization_id FOR UPDATE;
    PERFORM FROM flowstone_materializations m WHERE m.id = v_gate.materialization_id FOR UPDATE;
    SELECT * INTO v_gate FROM signal_gate_gates g WHERE g.id = p_gate FOR UPDATE;
    RETURN v_gate;
END;
$$;
