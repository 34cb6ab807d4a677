-- The children of distributed scatters: the items of one page each, told apart by their indexes.
--
-- A child has no counters: they would be two more updates per turn of a pump. What it came to is counted from its
-- items when somebody asks. Written with the page, under the fence of who reads, so no page makes two.

CREATE TABLE scatter_children (
    materialization_id bigint NOT NULL,
    batch_index integer NOT NULL,
    first_index integer NOT NULL,
    last_index integer NOT NULL,
    CONSTRAINT scatter_children_once PRIMARY KEY (materialization_id, batch_index),
    CONSTRAINT scatter_children_have_items CHECK (first_index <= last_index)
);
COMMENT ON TABLE scatter_children IS 'The pages of distributed scatters, each a range of its scatter''s items.';
