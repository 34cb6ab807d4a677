"""What a process claims of one run alone, when its rows grow while they are looked at."""

import asyncio
import json

import asyncpg

from flowstone import FlowStone, Pipeline
from tests.scenarios.eventually import eventually
from tests.scenarios.locks import behind_a_lock, connected


async def test_heads_that_are_found_while_an_assistant_is_added_cover_it(
    dsn: str, pg: asyncpg.Connection
) -> None:
    shop = Pipeline("shop")

    @shop.asset
    async def orders() -> int:
        return 1

    async with FlowStone(shop, dsn=dsn) as app:
        run = await app.enqueue(orders)
    [row] = await pg.fetch("SELECT id FROM flowstone.flowstone_materializations")
    async with connected(dsn) as adding, connected(dsn) as other:
        await other.execute("SET search_path = flowstone")
        async with adding.transaction():
            [added] = await adding.fetchval(
                "SELECT flowstone.flowstone_add_assistants_v1($1, ARRAY['{}'], NULL, NULL)",
                row["id"],
            )
            finding = asyncio.create_task(
                other.fetchval("SELECT flowstone_heads_of_run($1)", run.run_id)
            )
            # Not by the connection in the transaction: it sees what others do as at its first look.
            await eventually(lambda: behind_a_lock(pg, "flowstone_heads_of_run"))
        [head] = json.loads(await finding)

    assert (head["first"], head["last"]) == (row["id"], added)
