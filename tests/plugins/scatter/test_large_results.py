"""A large result costs what it says, not its length."""

import asyncpg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.engine.dsn import for_asyncpg
from flowstone.plugins.scatter import scatter

ROWS = 2000


@pytest.mark.conformance(224)
async def test_a_large_result_is_kept_compressed_and_a_small_one_as_it_is(dsn: str) -> None:
    p = Pipeline("p")

    @p.asset
    @scatter([0, 1, ROWS])
    async def listed(rows: int) -> list[dict[str, int]]:
        return [{"number": number, "square": number * number} for number in range(rows)]

    async with FlowStone(p, dsn=dsn) as app:
        await app.run(listed)

    connection = await asyncpg.connect(**for_asyncpg(dsn))
    found = await connection.fetch(
        "SELECT pg_column_size(result) AS kept, octet_length(result::text) AS length,"
        " pg_column_compression(result) AS by FROM flowstone.scatter_items ORDER BY index"
    )
    await connection.close()
    assert [it["by"] is None for it in found] == [True, True, False]
    assert found[2]["length"] > 30 * ROWS
    assert found[2]["kept"] < found[2]["length"] / 2
