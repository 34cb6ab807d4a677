"""
One report per day: a partition, a resource, a configuration, a day without data. In memory.

    python examples/daily_report.py

prints::

    2025-01-15  Ada 50.00, Grace 13.50
    2025-01-16  closed: nothing was sold
    again       2 assets reused, 0 run
    top one     Ada 50.00
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from datetime import date

from flowstone import Config, Context, Dep, FlowStone, Pipeline, Requires, Skip
from flowstone.core.contracts.resource import Resource

SALES = [("2025-01-15", "Ada", 4_200), ("2025-01-15", "Grace", 1_350), ("2025-01-15", "Ada", 800)]
WEDNESDAY, THURSDAY = date(2025, 1, 15), date(2025, 1, 16)


class Shop(Resource[sqlite3.Connection]):
    """Opened once per process, shared by all assets that ask for it, closed at the end."""

    async def setup(self, config: Mapping[str, object]) -> sqlite3.Connection:
        database = sqlite3.connect(str(config["path"]), check_same_thread=False)
        database.execute("CREATE TABLE sales (day text, customer text, cents integer)")
        database.executemany("INSERT INTO sales VALUES (?, ?, ?)", SALES)
        return database

    async def teardown(self, resource: sqlite3.Connection) -> None:
        resource.close()


class Ranking(Config):
    """What a run may choose; a value depends on it, so another choice is not fresh."""

    top_n: int = 10


shop = Pipeline("shop", owner="sales", tags=["daily"])


@shop.asset
def spent(
    ctx: Context[date], database: sqlite3.Connection = Requires(sqlite3.Connection)
) -> dict[str, int] | Skip:
    """Cents by customer. A plain function runs in a thread."""
    rows = database.execute(
        "SELECT customer, sum(cents) FROM sales WHERE day = ? GROUP BY customer",
        (ctx.partition.isoformat(),),
    ).fetchall()
    # Whoever needs the value is skipped, too; whoever takes it as optional gets None.
    return dict(rows) if rows else Skip("nothing was sold")


@shop.asset
async def report(config: Ranking, spent: dict[str, int] | None = Dep(spent, optional=True)) -> str:
    """Who spent most, first."""
    if spent is None:
        return "closed: nothing was sold"
    ranked = sorted(spent.items(), key=lambda each: -each[1])[: config.top_n]
    return ", ".join(f"{customer} {cents / 100:.2f}" for customer, cents in ranked)


app = FlowStone(shop, resources={sqlite3.Connection: (Shop, {"path": ":memory:"})})


async def main() -> None:
    """Run two days, then ask what another run would do."""
    async with app:
        for day in (WEDNESDAY, THURSDAY):
            print(f"{day}  {await app.run(report, partition=day)}")

        decisions = await app.plan(report, partition=WEDNESDAY)
        run = [it for it in decisions if it.action == "run"]
        print(f"again       {len(decisions) - len(run)} assets reused, {len(run)} run")

        best = await app.run(report, partition=WEDNESDAY, config=Ranking(top_n=1))
        print(f"top one     {best}")


if __name__ == "__main__":
    asyncio.run(main())
