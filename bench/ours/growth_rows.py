"""
Rows by the hundred thousand, as the engine itself would have written them.

What is to do is planned by `flowstone_create_run_v1`, page by page. What has finished is inserted
as it would have been left behind: job, events, run, materialization, value, pointer, lineage.
"""

from datetime import datetime

import asyncpg

PAGE = 100_000

PLAN = """
WITH reserved AS MATERIALIZED (
    SELECT n, nextval(pg_get_serial_sequence('procrastinate_jobs', 'id')) AS id
    FROM generate_series(1, $1::integer) n
),
step AS (
    SELECT
        n,
        id,
        -- In pairs, every second one takes the value of the one before.
        $4::boolean AND n % 2 = 0 AS is_second,
        lag(id) OVER (ORDER BY n) AS preceding,
        CASE WHEN $4::boolean AND n % 2 = 1 THEN lead(id) OVER (ORDER BY n) END AS following
    FROM reserved
)
SELECT flowstone_create_run_v1(
    '[]', NULL, NULL, $2::timestamptz, NULL::bigint,
    array_agg(id ORDER BY n),
    array_agg('bench.asset_' || n % 100 ORDER BY n),
    array_agg(id::text ORDER BY n),
    array_agg($3::text ORDER BY n),
    array_agg(0 ORDER BY n),
    array_agg('never materialized'::text ORDER BY n),
    array_agg(is_second::integer ORDER BY n),
    array_agg(CASE WHEN is_second THEN format('{%s}', preceding) ELSE '{}' END ORDER BY n),
    array_agg('{}'::text ORDER BY n),
    array_agg(coalesce(format('{%s}', following), '{}') ORDER BY n),
    array_agg('{}'::text ORDER BY n),
    NULL::text[], NULL::text[], NULL::text[], NULL::boolean[],
    '{}'::bigint[], '{}'::text[]
)
FROM step
"""

FINISHED_JOBS = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, attempts)
SELECT
    'default', 'flowstone:materialize',
    jsonb_build_object('run_id', 0, 'asset', 'bench.asset_' || n % 100, 'partition', 'old-' || n),
    'succeeded', 1
FROM generate_series($1::integer + 1, $1 + $2::integer) n
"""
FINISHED_RUN = """
INSERT INTO flowstone_runs (status, open_count, targets, created_at, finished_at)
VALUES ('succeeded', 0, '[]', clock_timestamp(), clock_timestamp())
RETURNING id
"""
FINISHED_MATERIALIZATIONS = """
INSERT INTO flowstone_materializations (
    id, run_id, asset, partition, queue, priority, status, unmet, claim, worker_id, attempt,
    duration_ms, started_at, finished_at, inputs, follows, dependents, optional_dependents, reason,
    version
)
SELECT
    id, $1::bigint, args ->> 'asset', args ->> 'partition', queue_name, 0, 'succeeded', 0, 0, 0, 1,
    5, clock_timestamp(), clock_timestamp(), ARRAY[id - 1], '{}', '{}', '{}', 'never materialized',
    'v1'
FROM procrastinate_jobs
WHERE status = 'succeeded' AND id > $2::bigint
ORDER BY id
"""
FINISHED_REST = """
WITH done AS MATERIALIZED (
    SELECT id, asset, partition
    FROM flowstone_materializations
    WHERE run_id = $1::bigint
    ORDER BY id
),
valued AS (
    INSERT INTO flowstone_values (materialization_id, size_bytes, value) SELECT id, 1, '1' FROM done
),
pointed AS (
    INSERT INTO flowstone_current (asset, partition, materialization_id)
    SELECT asset, partition, id FROM done
),
traced AS (
    INSERT INTO flowstone_lineage (materialization_id, upstream_id) SELECT id, id - 1 FROM done
)
INSERT INTO procrastinate_events (job_id, type)
SELECT id, type
FROM done
CROSS JOIN unnest('{deferred, started, succeeded}'::procrastinate_job_event_type[]) AS type
"""


class Rows:
    """
    Writes rows into one schema.

    Autovacuum leaves the tables alone from then on: whether they are analyzed is what a figure is
    about, and must not change while it is taken.
    """

    def __init__(self, connection: asyncpg.Connection, schema: str) -> None:
        self._pg = connection
        self._schema = schema
        self._finished = 0

    async def prepare(self) -> None:
        """Make unqualified names mean this schema, and keep autovacuum away from its tables."""
        await self._pg.execute(f"SET search_path TO {self._schema}")
        for table in await self._tables():
            await self._pg.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")

    async def analyze(self) -> None:
        """Take statistics, as autovacuum would."""
        for table in await self._tables():
            await self._pg.execute(f"ANALYZE {table}")

    async def plan(
        self, jobs: int, *, queue: str = "default", at: datetime | None = None, pairs: bool = False
    ) -> None:
        """Plan this many ready materializations; in pairs, each with another that waits for it."""
        while jobs > 0:
            page = min(jobs, PAGE)
            await self._pg.execute(PLAN, page * (1 + pairs), at, queue, pairs)
            jobs -= page

    async def finish(self, jobs: int) -> None:
        """Write this many materializations that succeeded, each of a partition of its own."""
        # Foreign keys would be looked up row by row; the rows that they want are there.
        await self._pg.execute("SET session_replication_role = replica")
        while jobs > 0:
            page = min(jobs, PAGE)
            newest = await self._pg.fetchval("SELECT coalesce(max(id), 0) FROM procrastinate_jobs")
            await self._pg.execute(FINISHED_JOBS, self._finished, page)
            run = await self._pg.fetchval(FINISHED_RUN)
            await self._pg.execute(FINISHED_MATERIALIZATIONS, run, newest)
            await self._pg.execute(FINISHED_REST, run)
            self._finished += page
            jobs -= page
        await self._pg.execute("RESET session_replication_role")

    async def _tables(self) -> list[str]:
        rows = await self._pg.fetch(
            "SELECT quote_ident(relname) FROM pg_class"
            " WHERE relnamespace = $1::regnamespace AND relkind = 'r'",
            self._schema,
        )
        return [row[0] for row in rows]
