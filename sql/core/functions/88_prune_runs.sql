-- What is kept no longer goes, a small batch at a time, far from the turn.
--
-- A run that has ended is kept for as long as the policy says, and takes with it what only it holds:
-- jobs, their events, what it reused, materializations, values, lineage. A materialization outlives its
-- run for as long as
--   * it is its key's current one,
--   * a run that is kept took it (flowstone_reused), finished or not: it may still load it, or
--   * something that is kept was made from it: lineage stays whole, its own value does not stay.
-- Such a one is marked (outlives_run), and looked at again when the run of what replaced it goes, when
-- the last run that took it goes, and when what was made from it goes. So nothing is ever searched for.
--
-- Who plans a run reads what is current, and that run is seen by others when its caller commits. For
-- that long, an hour, what was replaced is spared, and so no period is shorter than an hour.
--
-- Locks: flowstone_pruning, so that two who prune take turns; then finished jobs (those that somebody
-- else holds are skipped, with their runs), materializations, runs.

-- Of these succeeded materializations, those that nobody will load any more.
--
-- Replaced before p_before: either what is current now was there by then, or something in between.
CREATE FUNCTION flowstone_superseded(p_ids bigint[], p_before timestamptz)
    RETURNS bigint[]
    LANGUAGE plpgsql
AS $$
BEGIN
    RETURN ARRAY(
        SELECT m.id
        FROM flowstone_materializations m
        LEFT JOIN flowstone_current c ON c.asset = m.asset AND c.partition = m.partition
        LEFT JOIN flowstone_materializations newest ON newest.id = c.materialization_id
        WHERE m.id = ANY (p_ids)
            AND m.status = 'succeeded'
            AND m.finished_at < p_before
            AND c.materialization_id IS DISTINCT FROM m.id
            AND NOT EXISTS (SELECT FROM flowstone_reused u WHERE u.materialization_id = m.id)
            AND (
                newest.finished_at < p_before
                -- The next one as a rule; those that came last are not long enough ago.
                OR (
                    SELECT true
                    FROM flowstone_materializations later
                    WHERE later.asset = m.asset
                        AND later.partition = m.partition
                        AND -later.id < -m.id
                        AND later.status = 'succeeded'
                        AND later.finished_at BETWEEN m.finished_at AND p_before
                    ORDER BY -later.id DESC
                    LIMIT 1
                )
            )
    );
END;
$$;

-- Forget the values of these materializations, and return how many there were. What an IO manager holds
-- becomes an orphan there: no row names it any longer.
CREATE FUNCTION flowstone_forget_values(p_ids bigint[])
    RETURNS bigint
    LANGUAGE plpgsql
AS $$
DECLARE
    v_here bigint;
    v_elsewhere bigint;
BEGIN
    DELETE FROM flowstone_values v WHERE v.materialization_id = ANY (p_ids);
    GET DIAGNOSTICS v_here = ROW_COUNT;
    UPDATE flowstone_materializations m SET location = NULL
    WHERE m.id = ANY (p_ids) AND m.location IS NOT NULL;
    GET DIAGNOSTICS v_elsewhere = ROW_COUNT;
    RETURN v_here + v_elsewhere;
END;
$$;

-- Let rows of a table go with their materialization, which its column materialization_id names.
--
-- For the revisions of plugins. There is to be an index on the column. An unfinished materialization is
-- never pruned, nor is one that is current. Of a table with many rows for each the plugin names a function
-- (ids bigint[], most integer) that deletes no more than so many of them, and returns how many: it is called
-- until it returns fewer, when items are kept no longer; the materializations have ended, and stay for now.
-- p_holds_items: that function, or the one of another table, deletes its rows, so that a dry run counts them.
CREATE FUNCTION flowstone_attach_v1(
    p_table text, p_forget_items text DEFAULT NULL, p_holds_items boolean DEFAULT NULL
)
    RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
AS $$
    INSERT INTO flowstone_attached_tables (name, forget_items, holds_items)
    VALUES (p_table, p_forget_items, coalesce(p_holds_items, p_forget_items IS NOT NULL))
    ON CONFLICT (name) DO UPDATE SET forget_items = excluded.forget_items, holds_items = excluded.holds_items;
$$;

-- Delete what plugins have of these materializations.
CREATE FUNCTION flowstone_forget_attached(p_ids bigint[])
    RETURNS void
    LANGUAGE plpgsql
AS $$
DECLARE
    v_table text;
BEGIN
    IF cardinality(p_ids) > 0 THEN
        FOR v_table IN SELECT a.name FROM flowstone_attached_tables a ORDER BY a.name LOOP
            EXECUTE format('DELETE FROM %I WHERE materialization_id = ANY ($1)', v_table) USING p_ids;
        END LOOP;
    END IF;
END;
$$;

-- The materializations of runs that ended before p_before, run by run, after a position.
--
-- A run without any (left) has one row without one. The last row is where the next batch goes on.
CREATE FUNCTION flowstone_ended(
    p_status flowstone_run_status, p_after flowstone_pruning, p_before timestamptz, p_limit integer
)
    RETURNS TABLE (run_id bigint, ended_at timestamptz, id bigint, asset text, partition text)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, r.finished_at, m.id, coalesce(m.asset, after.asset), coalesce(m.partition, after.partition)
    FROM (
        -- Each gives one row at least: more runs than rows are never wanted.
        SELECT r.id, r.finished_at
        FROM flowstone_runs r
        WHERE r.status = p_status
            AND r.finished_at < p_before
            AND (r.finished_at, r.id) >= (p_after.ended_at, p_after.after_id)
        ORDER BY r.finished_at, r.id
        LIMIT p_limit
    ) r
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN r.id = p_after.after_id THEN p_after.asset ELSE '' END AS asset,
            CASE WHEN r.id = p_after.after_id THEN p_after.partition ELSE '' END AS partition
    ) after
    LEFT JOIN LATERAL (
        SELECT m.id, m.asset, m.partition
        FROM flowstone_materializations m
        WHERE m.run_id = r.id AND (m.asset, m.partition) > (after.asset, after.partition)
        ORDER BY m.asset, m.partition
        LIMIT p_limit
    ) m ON true
    ORDER BY r.finished_at, r.id, m.asset, m.partition
    LIMIT p_limit;
END;
$$;

-- Where pruning stands; nobody else prunes the same until this transaction ends.
CREATE FUNCTION flowstone_pruning_position(p_what text, p_status flowstone_run_status)
    RETURNS flowstone_pruning
    LANGUAGE plpgsql
AS $$
DECLARE
    v_position flowstone_pruning;
BEGIN
    INSERT INTO flowstone_pruning (what, status) VALUES (p_what, p_status) ON CONFLICT DO NOTHING;
    SELECT p.* INTO v_position FROM flowstone_pruning p WHERE p.what = p_what AND p.status = p_status
    FOR UPDATE;
    RETURN v_position;
END;
$$;

CREATE FUNCTION flowstone_move_pruning_position(p_to flowstone_pruning)
    RETURNS void
    LANGUAGE sql
AS $$
    UPDATE flowstone_pruning p
    SET ended_at = p_to.ended_at, after_id = p_to.after_id, asset = p_to.asset, partition = p_to.partition
    WHERE p.what = p_to.what AND p.status = p_to.status;
$$;

-- One batch of runs with this status that ended before p_before.
CREATE FUNCTION flowstone_prune_runs(p_status flowstone_run_status, p_before timestamptz, p_limit integer)
    RETURNS TABLE (run_count bigint, materialization_count bigint, value_count bigint, is_done boolean)
    LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_spared timestamptz := clock_timestamp() - interval '1 hour';
    v_position flowstone_pruning := flowstone_pruning_position('runs', p_status);
    v_rows record;
    v_runs bigint[];
    v_own bigint[];
    v_free bigint[];
    v_busy bigint[];
    v_unfinished bigint;
    v_released bigint[];
    v_wave bigint[];
    v_superseded bigint[];
    v_unread bigint[] := '{}';
    v_gone bigint[];
BEGIN
    run_count := 0;
    materialization_count := 0;
    value_count := 0;
    SELECT
        count(*)::integer AS count, array_agg(e.run_id) AS runs, array_agg(e.ended_at) AS ended,
        array_agg(e.id) AS ids, array_agg(e.asset) AS assets, array_agg(e.partition) AS partitions
    INTO v_rows
    FROM flowstone_ended(p_status, v_position, p_before, p_limit) e;
    is_done := v_rows.count < p_limit;
    IF NOT is_done THEN
        v_unfinished := v_rows.runs[p_limit];
        v_position.ended_at := v_rows.ended[p_limit];
        v_position.after_id := v_unfinished;
        v_position.asset := v_rows.assets[p_limit];
        v_position.partition := v_rows.partitions[p_limit];
        PERFORM flowstone_move_pruning_position(v_position);
    ELSIF v_position.after_id <> 0 THEN
        -- From the start next time: some may have been passed over.
        DELETE FROM flowstone_pruning p WHERE p.what = 'runs' AND p.status = p_status;
    END IF;
    IF v_rows.count = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;
    v_runs := ARRAY(SELECT DISTINCT unnest(v_rows.runs));
    v_own := array_remove(v_rows.ids, NULL);

    -- A finished job that somebody holds, or has put back to work, keeps its run for another time.
    v_free := ARRAY(
        SELECT j.id
        FROM procrastinate_jobs j
        WHERE j.id = ANY (v_own) AND j.status NOT IN ('todo', 'doing')
        ORDER BY j.id
        FOR UPDATE SKIP LOCKED
    );
    v_busy := ARRAY(
        SELECT j.id FROM procrastinate_jobs j WHERE j.id = ANY (v_own) EXCEPT SELECT unnest(v_free)
    );
    IF v_busy <> '{}' THEN
        v_busy := ARRAY(SELECT m.run_id FROM flowstone_materializations m WHERE m.id = ANY (v_busy));
        v_runs := ARRAY(SELECT unnest(v_runs) EXCEPT SELECT unnest(v_busy));
        v_own := ARRAY(
            SELECT m.id FROM flowstone_materializations m WHERE m.id = ANY (v_own) AND m.run_id = ANY (v_runs)
        );
    END IF;
    DELETE FROM procrastinate_jobs j WHERE j.id = ANY (v_own);
    DELETE FROM flowstone_errors e WHERE e.materialization_id = ANY (v_own);

    WITH released AS (
        DELETE FROM flowstone_reused u
        WHERE u.ctid = ANY (ARRAY(
            SELECT taken.ctid FROM flowstone_reused taken WHERE taken.run_id = ANY (v_runs) LIMIT p_limit
        ))
        RETURNING u.materialization_id
    )
    SELECT coalesce(array_agg(DISTINCT released.materialization_id), '{}'), is_done AND count(*) < p_limit
    INTO v_released, is_done
    FROM released;

    -- Its own, what it had taken, and what its own have replaced; then what those were made from.
    v_wave := v_own || v_released || ARRAY(
        SELECT replaced.id
        FROM flowstone_materializations m
        JOIN flowstone_materializations replaced
            ON replaced.asset = m.asset AND replaced.partition = m.partition AND replaced.outlives_run
        WHERE m.id = ANY (v_own)
    );
    WHILE v_wave <> '{}' LOOP
        v_wave := ARRAY(
            SELECT m.id
            FROM flowstone_materializations m
            WHERE m.id = ANY (v_wave) AND (m.run_id = ANY (v_runs) OR m.outlives_run)
        );
        v_superseded := flowstone_superseded(v_wave, v_spared);
        v_unread := v_unread || v_superseded;
        WITH gone AS (
            DELETE FROM flowstone_materializations m
            WHERE m.id = ANY (v_wave)
                AND (
                    m.status <> 'succeeded'
                    OR m.id = ANY (v_superseded)
                        AND NOT EXISTS (SELECT FROM flowstone_lineage l WHERE l.upstream_id = m.id)
                )
            RETURNING m.id, m.inputs
        ),
        made AS (
            SELECT gone.id, unnest(gone.inputs) AS upstream_id FROM gone
        ),
        edges AS (
            DELETE FROM flowstone_lineage l
            USING made
            WHERE l.upstream_id = made.upstream_id AND l.materialization_id = made.id
        )
        SELECT ARRAY(SELECT gone.id FROM gone), ARRAY(SELECT DISTINCT made.upstream_id FROM made)
        INTO v_gone, v_wave;
        PERFORM flowstone_forget_attached(v_gone);
        materialization_count := materialization_count + cardinality(v_gone);
    END LOOP;

    -- Also of those that stay for what was made from them.
    value_count := flowstone_forget_values(v_unread);
    UPDATE flowstone_materializations m SET outlives_run = true WHERE m.id = ANY (v_own) AND NOT m.outlives_run;
    DELETE FROM flowstone_runs r
    WHERE r.id = ANY (v_runs)
        AND r.id IS DISTINCT FROM v_unfinished
        AND NOT EXISTS (SELECT FROM flowstone_reused u WHERE u.run_id = r.id);
    GET DIAGNOSTICS run_count = ROW_COUNT;
    RETURN NEXT;
END;
$$;
