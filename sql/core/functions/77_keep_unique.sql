-- A unique job holds its key where its state is covered: the triggers that see to it, and who looks after them.
-- 74_unique.sql says what a key is.
--
-- A turn moves thousands of jobs that need nothing, when they start, or all the same, when they end. It sees to
-- that itself, in one statement, and says so by the row's unique_status: the status that it has done this for.
-- Any other status is written by somebody who knows nothing of keys, and so the trigger is called:
--
--     enqueued, snoozed, retried   pending      the trigger sees to whatever comes
--     running, as the key covers   running      a turn says so: nothing is to be done
--     ended                        that status  flowstone_settle says so, and lets go of the keys of the batch
--
-- What is settled alone (42_settle_one.sql) is left to the trigger.
--
-- Whoever moves on what has ended calls the trigger by it, which takes the word back: it does not hold for the
-- next end.

-- The unique_status of a job that flowstone_settle gives this status.
--
-- One that ends where it is covered and had let go of its key when it ran is left to the trigger.
CREATE FUNCTION flowstone_unique_status_of_end(p_states smallint, p_status flowstone_status)
    RETURNS flowstone_status
    LANGUAGE sql
    IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_status < 'succeeded' THEN 'pending'
        WHEN p_states & 2 <> 0 OR p_states & flowstone_unique_state(p_status) = 0 THEN p_status
        ELSE 'pending'
    END;
$$;

-- Let go of the keys of these jobs, where they are not covered any longer; the caller has just ended them.
CREATE FUNCTION flowstone_let_go_of_keys(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_keys text[];
    v_passed text[];
BEGIN
    SELECT
        array_agg(m.unique_key) FILTER (WHERE (m.unique_until <= v_now) IS NOT TRUE),
        array_agg(m.unique_key) FILTER (WHERE m.unique_until <= v_now)
    INTO v_keys, v_passed
    FROM flowstone_materializations m
    WHERE m.id = ANY (p_ids) AND m.unique_states & flowstone_unique_state(m.status) = 0;

    -- Whether they hold them is asked by a subquery: of a join the plan may be to read all keys, if there were
    -- none. Another one that holds such a key is covered.
    DELETE FROM flowstone_unique_keys k
    WHERE k.key = ANY (v_keys)
        AND (
            SELECT m.unique_states & flowstone_unique_state(m.status) = 0
            FROM flowstone_materializations m
            WHERE m.id = k.materialization_id
        );
    IF v_passed IS NOT NULL THEN
        -- Who has locked one is taking it over, and may be waiting for something that we have locked.
        DELETE FROM flowstone_unique_keys k
        WHERE k.key = ANY (ARRAY(
            SELECT held.key
            FROM flowstone_unique_keys held
            WHERE held.key = ANY (v_passed)
                AND (
                    SELECT m.unique_states & flowstone_unique_state(m.status) = 0
                    FROM flowstone_materializations m
                    WHERE m.id = held.materialization_id
                )
            FOR UPDATE SKIP LOCKED
        ));
    END IF;
END;
$$;

-- Let a job keep its key where its state is covered, and no further.
--
-- One that is to do again finds its key taken if it had let go of it when it ran: then there are two, and
-- this one is ended as cancelled, with the code "superseded". Whoever settled it hears nothing of it.
CREATE FUNCTION flowstone_keep_unique() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
AS $$
DECLARE
    v_holder bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.unique_status >= 'succeeded' THEN
            UPDATE flowstone_materializations m SET unique_status = 'pending' WHERE m.id = NEW.id;
        END IF;
        IF (OLD.unique_states & flowstone_unique_state(OLD.status) = 0)
            = (NEW.unique_states & flowstone_unique_state(NEW.status) = 0)
        THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.unique_states & flowstone_unique_state(NEW.status) <> 0 THEN
        IF NEW.unique_until <= clock_timestamp() THEN
            RETURN NULL;
        END IF;
        SELECT lost.holder INTO v_holder
        FROM flowstone_take_unique_keys(ARRAY[NEW.unique_key], ARRAY[NEW.id]) lost;
        IF FOUND AND NEW.status IN ('ready', 'waiting') THEN
            PERFORM flowstone_supersede(NEW.id, v_holder, NEW.is_awaited);
        END IF;
    ELSIF OLD.unique_until <= clock_timestamp() THEN
        -- Who has locked it is taking it over, and may be waiting for something that we have locked.
        DELETE FROM flowstone_unique_keys k
        WHERE k.key = (
            SELECT own.key
            FROM flowstone_unique_keys own
            WHERE own.key = OLD.unique_key AND own.materialization_id = OLD.id
            FOR UPDATE SKIP LOCKED
        );
    ELSE
        DELETE FROM flowstone_unique_keys k WHERE k.key = OLD.unique_key AND k.materialization_id = OLD.id;
    END IF;
    RETURN NULL;
END;
$$;

-- End a job that waits, as another has taken its key while it ran. Its rows are locked by whoever put it back.
CREATE FUNCTION flowstone_supersede(p_id bigint, p_holder bigint, p_is_awaited boolean)
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_before text := coalesce(current_setting('flowstone_job.is_own', true), '');
BEGIN
    PERFORM set_config('flowstone_job.is_own', 'yes', true);
    UPDATE procrastinate_jobs j SET status = 'cancelled' WHERE j.id = p_id AND j.status::text = 'todo';
    PERFORM set_config('flowstone_job.is_own', v_before, true);
    UPDATE flowstone_materializations m
    SET status = 'cancelled',
        finished_at = clock_timestamp(),
        error = json_build_object(
            'code', 'superseded',
            'message', 'job ' || p_holder || ' has taken its unique key meanwhile',
            'job_id', p_holder
        )
    WHERE m.id = p_id;
    DELETE FROM flowstone_waits w WHERE w.materialization_id = p_id;
    IF p_is_awaited THEN
        PERFORM flowstone_notify_jobs(ARRAY[p_id]);
    END IF;
END;
$$;

-- The condition is short, as every statement that updates materializations reads and plans it anew: what
-- those without a key, for whom it is null, need not know is asked in the function.
CREATE TRIGGER flowstone_unique_key_moved
    AFTER UPDATE OF status ON flowstone_materializations
    FOR EACH ROW WHEN (NEW.status <> NEW.unique_status)
    EXECUTE FUNCTION flowstone_keep_unique();

CREATE TRIGGER flowstone_unique_key_deleted
    AFTER DELETE ON flowstone_materializations
    FOR EACH ROW WHEN (OLD.unique_key IS NOT NULL)
    EXECUTE FUNCTION flowstone_keep_unique();

-- Where keys and jobs contradict each other; no row: nowhere. It reads all jobs, for tests and doubts.
CREATE FUNCTION flowstone_unique_violations_v1()
    RETURNS TABLE (violation text, key text, materialization_id bigint)
    LANGUAGE sql
    STABLE
    SET search_path FROM CURRENT
AS $$
    SELECT
        CASE
            WHEN m.id IS NULL THEN 'its holder is gone'
            WHEN m.unique_key IS DISTINCT FROM k.key THEN 'its holder has another key'
            ELSE 'its holder is ' || m.status || ', which the key does not cover'
        END,
        k.key, k.materialization_id
    FROM flowstone_unique_keys k
    LEFT JOIN flowstone_materializations m ON m.id = k.materialization_id
    WHERE m.id IS NULL
        OR m.unique_key IS DISTINCT FROM k.key
        OR (m.unique_states & flowstone_unique_state(m.status) = 0
            AND (m.unique_until <= clock_timestamp()) IS NOT TRUE)
    UNION ALL
    SELECT 'it is ' || m.status || ' without its key', m.unique_key, m.id
    FROM flowstone_materializations m
    WHERE m.unique_key IS NOT NULL
        AND m.status IN ('ready', 'waiting', 'running')
        AND m.unique_states & flowstone_unique_state(m.status) <> 0
        AND (m.unique_until <= clock_timestamp()) IS NOT TRUE
        AND NOT EXISTS (
            SELECT FROM flowstone_unique_keys k WHERE k.key = m.unique_key AND k.materialization_id = m.id
        )
    UNION ALL
    SELECT 'its unique_status is ' || coalesce(m.unique_status::text, 'null'), m.unique_key, m.id
    FROM flowstone_materializations m
    WHERE m.unique_key IS NOT NULL
        AND (m.unique_status IS NULL OR m.unique_status >= 'succeeded' AND m.unique_status <> m.status);
$$;
