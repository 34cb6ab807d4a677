-- Leadership: at most one holder of each name, by the database's clock.

-- Take the lease, or renew it; false while another holds it.
--
-- Who waits here for the row looks at the clock once more when it has it. p_ms counts from the moment
-- before the wait, so that a holder who counts from before its call never believes too long.
CREATE FUNCTION flowstone_hold_lease_v1(p_name text, p_holder text, p_ms bigint)
    RETURNS boolean
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
BEGIN
    INSERT INTO flowstone_leases AS l (name, holder, held_until)
    VALUES (p_name, p_holder, clock_timestamp() + p_ms * interval '1 ms')
    ON CONFLICT (name) DO UPDATE
    SET holder = excluded.holder, held_until = excluded.held_until
    WHERE l.holder = excluded.holder OR l.held_until <= clock_timestamp();
    RETURN FOUND;
END;
$$;

-- Give the lease up, if this holder has it.
CREATE FUNCTION flowstone_give_up_lease_v1(p_name text, p_holder text)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    DELETE FROM flowstone_leases l WHERE l.name = p_name AND l.holder = p_holder;
$$;
