-- Scatters: one barrier for each, its items, and what of them is handed out.
--
-- A barrier has the id of the materialization that waits for it, and goes with it when that is pruned; its items
-- go before, some time after the end of the run (70_forget.sql). Its row is small and changes with every turn of a
-- pump; what is written with each page of items is in a row of its own, so that reading and computing do not wait
-- for one another.
--
-- Lock order: scatter_feeds, scatter_barriers (each one row, by the barrier), then the rows of the engine in
-- the order that its tables state. Items, chunks and pumps belong to who holds their barrier. No transaction
-- of the engine's comes the other way: pruning deletes rows of barriers that have ended.

CREATE TABLE scatter_barriers (
    materialization_id bigint PRIMARY KEY,
    run_id bigint NOT NULL,
    status text NOT NULL DEFAULT 'executing'
        CONSTRAINT scatter_barriers_have_a_known_status
        CHECK (status IN ('executing', 'completed', 'partial_failure', 'failed', 'cancelled')),
    total integer NOT NULL DEFAULT 0,
    completed integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    retried integer NOT NULL DEFAULT 0,
    is_closed boolean NOT NULL DEFAULT false,
    last_index integer NOT NULL DEFAULT -1,
    claimed_index integer NOT NULL DEFAULT -1,
    item_bytes integer NOT NULL DEFAULT 0,
    max_concurrent integer,
    rate_count integer,
    rate_ms bigint,
    next_start_at timestamptz,
    failure_threshold double precision NOT NULL,
    failure_mode text NOT NULL
        CONSTRAINT scatter_barriers_have_a_known_failure_mode
        CHECK (failure_mode IN ('all_or_nothing', 'partial')),
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    items_pruned_at timestamptz,
    error json,
    CONSTRAINT scatter_barriers_settle_within_their_total CHECK (completed + failed <= total)
) WITH (fillfactor = 10);
COMMENT ON TABLE scatter_barriers IS 'How each scatter stands. The counters are those of its items'' rows, as long as those are kept.';
COMMENT ON COLUMN scatter_barriers.retried IS 'Attempts that failed and were to be made again.';
COMMENT ON COLUMN scatter_barriers.is_closed IS 'No further items come.';
COMMENT ON COLUMN scatter_barriers.items_pruned_at IS 'Its items began to be deleted, by retention (items); the counters stay.';
COMMENT ON COLUMN scatter_barriers.last_index IS 'The highest index that an item has been given.';
COMMENT ON COLUMN scatter_barriers.claimed_index IS 'Up to here items were handed out for the first time.';
COMMENT ON COLUMN scatter_barriers.item_bytes IS 'The average size of an item in the page where that is largest; bounds what a turn hands out.';
COMMENT ON COLUMN scatter_barriers.next_start_at IS 'When the next item may start, as rate_count in rate_ms allows.';
-- Serves the list of the scatters of a run.
CREATE INDEX scatter_barriers_by_run ON scatter_barriers (run_id);

CREATE TABLE scatter_feeds (
    materialization_id bigint PRIMARY KEY,
    asset text NOT NULL,
    partition text NOT NULL,
    options json NOT NULL,
    input json,
    is_batched boolean NOT NULL DEFAULT false,
    progress json,
    expected_total bigint,
    next_index integer NOT NULL DEFAULT 0,
    fed_claim integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE scatter_feeds IS 'What each scatter was begun with, and how far its items are read.';
COMMENT ON COLUMN scatter_feeds.progress IS 'Where reading goes on: position, page index, items read. Written with the page.';
COMMENT ON COLUMN scatter_feeds.fed_claim IS 'The fence of who reads: pages of earlier claims are refused.';
COMMENT ON COLUMN scatter_feeds.expected_total IS 'How many items there will be, as far as the reader knows.';

CREATE TABLE scatter_items (
    materialization_id bigint NOT NULL,
    index integer NOT NULL,
    status smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    key_hash bytea NOT NULL,
    key json,
    item json NOT NULL,
    result json,
    error json,
    errors json,
    finished_at timestamptz,
    PRIMARY KEY (materialization_id, index)
) WITH (
    -- Each row is updated once, and is longer then: with its result. The space keeps that HOT.
    fillfactor = 40,
    autovacuum_vacuum_insert_scale_factor = 0.5
);
COMMENT ON TABLE scatter_items IS 'The items of scatters, with what became of them.';
COMMENT ON COLUMN scatter_items.status IS '0 pending, 1 completed, 2 failed.';
COMMENT ON COLUMN scatter_items.attempts IS 'Attempts that have ended.';
COMMENT ON COLUMN scatter_items.key_hash IS 'The first 16 bytes of SHA-256 of the canonical JSON of its key.';
COMMENT ON COLUMN scatter_items.key IS 'What tells it from the others; null: the item itself.';
COMMENT ON COLUMN scatter_items.result IS 'JSON. The server keeps it compressed where a row is larger than about 2 kB.';
COMMENT ON COLUMN scatter_items.errors IS 'Of a batch: errors of single items in it, which did not fail it.';
-- Serves inserting, which folds duplicates, and settling by key.
CREATE UNIQUE INDEX scatter_items_by_key ON scatter_items (materialization_id, key_hash);

CREATE TABLE scatter_chunks (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    materialization_id bigint NOT NULL,
    first_index integer,
    last_index integer,
    indexes integer[],
    attempts smallint NOT NULL DEFAULT 0,
    due_at timestamptz,
    pump_id bigint,
    pump_claim integer,
    deaths smallint NOT NULL DEFAULT 0,
    CONSTRAINT scatter_chunks_are_a_range_or_a_list CHECK ((first_index IS NULL) <> (indexes IS NULL))
);
COMMENT ON TABLE scatter_chunks IS
    'Items that are handed out, were given back, or wait to be tried again. Those of them count that are pending and have had so many attempts.';
COMMENT ON COLUMN scatter_chunks.pump_id IS 'The assistant that has it, under pump_claim; null: nobody.';
COMMENT ON COLUMN scatter_chunks.deaths IS 'How often whoever had it did not give it back.';
-- Serves handing out what is due, and finding what a pump has.
CREATE INDEX scatter_chunks_by_barrier ON scatter_chunks (materialization_id, pump_id, due_at);

CREATE TABLE scatter_pumps (
    materialization_id bigint NOT NULL,
    pump_id bigint NOT NULL,
    pump_claim integer NOT NULL,
    permits integer NOT NULL,
    is_short boolean NOT NULL,
    PRIMARY KEY (materialization_id, pump_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE scatter_pumps IS 'How many items each pump may run at once, where max_concurrent bounds them all.';
COMMENT ON COLUMN scatter_pumps.is_short IS 'It wanted more than it got.';
