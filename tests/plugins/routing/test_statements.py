"""Looking a decision up costs no more with many of them, not even in tables never analyzed."""

import asyncpg

MANY = """
INSERT INTO flowstone.routing_decisions
SELECT n, n, 'p.kind', '', 'a', '{a}', 'default', NULL, NULL, clock_timestamp()
FROM generate_series(1, 5000) n
"""
RECORD = """
SELECT * FROM flowstone.routing_record_v1(4711, 4711, 'p.kind', '', 'a', '{a}', 'default', '', NULL)
"""
CALLS = (
    "SELECT * FROM flowstone.routing_get_v1(4711, 'p.kind', '')",
    "SELECT * FROM flowstone.routing_outputs_v1('{4711,4712}')",
    "SELECT * FROM flowstone.routing_decisions_v1(4711)",
    RECORD,
)
READ = """
SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_xact_user_tables
WHERE relname IN ('routing_decisions', 'flowstone_materializations')
"""


async def test_no_statement_reads_the_whole_table(pg: asyncpg.Connection) -> None:
    await pg.execute(MANY)
    async with pg.transaction():
        for call in CALLS:
            assert len(await pg.fetch(call)) in (1, 2)

        assert await pg.fetchval(READ) == 0
