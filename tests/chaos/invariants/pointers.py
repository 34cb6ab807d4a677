"""The current value of a partition is the one that was settled last."""

from tests.chaos.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "a pointer points at what succeeded for its key",
        """
        SELECT c.asset, c.partition, c.materialization_id, m.asset AS of, m.partition AS slice,
            m.status::text, m.finished_at AS at
        FROM flowstone.flowstone_current c
        LEFT JOIN flowstone.flowstone_materializations m ON m.id = c.materialization_id
        WHERE m.id IS NULL OR m.status <> 'succeeded'
            OR (m.asset, m.partition) <> (c.asset, c.partition)
        """,
    ),
    Invariant(
        "whatever succeeded has a pointer for its key",
        """
        SELECT m.id, m.asset, m.partition, m.finished_at AS at
        FROM flowstone.flowstone_materializations m
        WHERE m.status = 'succeeded' AND m.run_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM flowstone.flowstone_current c
            WHERE (c.asset, c.partition) = (m.asset, m.partition)
        )
        """,
    ),
    Invariant(
        # finished_at is taken before the locks of a turn, each of which may cost two seconds.
        "nothing was settled long after what is current",
        """
        SELECT c.asset, c.partition, c.materialization_id, m.id, m.finished_at AS at,
            current.finished_at AS current_at
        FROM flowstone.flowstone_current c
        JOIN flowstone.flowstone_materializations current ON current.id = c.materialization_id
        JOIN flowstone.flowstone_materializations m
            ON (m.asset, m.partition) = (c.asset, c.partition)
        WHERE m.status = 'succeeded' AND m.finished_at > current.finished_at + interval '10 s'
        """,
    ),
)
