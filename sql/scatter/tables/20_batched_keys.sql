-- The keys of items that are in a batch: a batch is a row, and what is in it is found by this alone.
--
-- Written together with the batches, by whoever feeds the barrier; goes with its materialization.

CREATE TABLE scatter_batched_keys (
    materialization_id bigint NOT NULL,
    key_hash bytea NOT NULL,
    CONSTRAINT scatter_batched_keys_once PRIMARY KEY (materialization_id, key_hash)
);
COMMENT ON TABLE scatter_batched_keys IS 'Which items of a batched scatter are in a batch already.';
