"""What a process claims of one run alone, when its rows grow while they are looked at."""

import asyncio
import json

import asyncpg

from flowstone import FlowStone, Pipeline
from flowstone.engine.dsn import for_asyncpg

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = $1"


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
    other = await asyncpg.connect(**for_asyncpg(dsn))
    await other.execute("SET search_path = flowstone")
    adding = pg.transaction()
    await adding.start()
    [added] = await pg.fetchval(
        "SELECT flowstone.flowstone_add_assistants_v1($1, ARRAY['{}'], NULL, NULL)", row["id"]
    )

    finding = asyncio.create_task(other.fetchval("SELECT flowstone_heads_of_run($1)", run.run_id))
    async with asyncio.timeout(10):
        while not await pg.fetchval(BLOCKED, other.get_server_pid()):
            await asyncio.sleep(0.01)
    await adding.commit()
    [head] = json.loads(await finding)
    await other.close()

    assert (head["first"], head["last"]) == (row["id"], added)
