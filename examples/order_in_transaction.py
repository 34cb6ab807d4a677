"""
An order and the run that it causes, in one transaction on one connection. On Postgres.

    python examples/order_in_transaction.py

takes the database that FLOWSTONE_DSN names, and an embedded one otherwise. It prints::

    rolled back: 0 orders, 0 runs
    committed: 1 order, 1 run
    the same order again: the same run
    shop.revenue d:2025-01-15 ready
    shop.revenue d:2025-01-15 succeeded
    revenue: 1200
"""

import asyncio
import os
from collections.abc import Mapping
from datetime import date

import asyncpg

from flowstone import Context, FlowStone, Pipeline, Requires
from flowstone.core.contracts.resource import Resource
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.embedded import EmbeddedPostgres
from flowstone.engine.schema import migrate

DAY = date(2025, 1, 15)

shop = Pipeline("shop")


class Pool(Resource[asyncpg.Pool]):
    """The application's own connections, for its assets."""

    async def setup(self, config: Mapping[str, object]) -> asyncpg.Pool:
        return await asyncpg.create_pool(str(config["dsn"]), min_size=1, max_size=2)

    async def teardown(self, resource: asyncpg.Pool) -> None:
        await resource.close()


@shop.asset
async def revenue(ctx: Context[date], pool: asyncpg.Pool = Requires(asyncpg.Pool)) -> int:
    """The cents of a day's orders."""
    total: int = await pool.fetchval(
        "SELECT coalesce(sum(cents), 0)::integer FROM orders WHERE day = $1", ctx.partition
    )
    return total


async def main(dsn: str) -> None:
    """Order twice, once in vain; then be the worker."""
    migrate(dsn)  # what `flowstone db migrate` does
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS orders (day date, cents integer)")
    app = FlowStone(shop, dsn=dsn, resources={asyncpg.Pool: (Pool, {"dsn": dsn})})
    async with app:
        try:
            async with connection.transaction():
                await order(app, connection, 1_200, dedupe="order 1")
                raise ConnectionError("the client is gone")
        except ConnectionError:
            print(f"rolled back: {await counted(connection)}")

        async with connection.transaction():
            run_id = await order(app, connection, 1_200, dedupe="order 1")
        print(f"committed: {await counted(connection)}")

        run = await app.enqueue(revenue, partition=DAY, dedupe="order 1")
        print(f"the same order again: {'the same' if run.run_id == run_id else 'another'} run")

        await show(connection, run_id)
        # What `flowstone worker --drain` does.
        await app.worker(WorkerOptions(queues={"default": 10}, drain=True)).run()
        await show(connection, run_id)
        print(f"revenue: {await run.result()}")
    await connection.close()


async def order(app: FlowStone, connection: asyncpg.Connection, cents: int, dedupe: str) -> int:
    """Write an order, and enqueue what depends on it, in the caller's transaction."""
    await connection.execute("INSERT INTO orders VALUES ($1, $2)", DAY, cents)
    run = await app.enqueue(revenue, partition=DAY, conn=connection, dedupe=dedupe)
    return run.run_id


async def counted(connection: asyncpg.Connection) -> str:
    """Say how much there is."""
    orders = await connection.fetchval("SELECT count(*) FROM orders")
    runs = await connection.fetchval("SELECT count(*) FROM flowstone.runs")
    return f"{orders} order{'s' * (orders != 1)}, {runs} run{'s' * (runs != 1)}"


async def show(connection: asyncpg.Connection, run_id: int) -> None:
    """Print what SQL says about a run."""
    rows = await connection.fetch(
        "SELECT asset, partition, status FROM flowstone.materializations WHERE run_id = $1", run_id
    )
    for row in rows:
        print(row["asset"], row["partition"], row["status"])


if __name__ == "__main__":
    given = os.environ.get("FLOWSTONE_DSN")
    if given:
        asyncio.run(main(given))
    else:
        with EmbeddedPostgres() as server:
            asyncio.run(main(server.dsn()))
