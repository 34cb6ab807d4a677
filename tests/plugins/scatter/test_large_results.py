"""Large results: kept compressed, reported and gathered in parts."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from flowstone import FlowStone, Pipeline
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.store import PostgresStore
from flowstone.plugins.scatter import Results, scatter
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.records import ItemRecord, PumpTurn, Turned
from flowstone.plugins.scatter.turn_size import TURN_BYTES
from tests.application.stage import Stage

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


async def test_large_results_are_reported_and_gathered_in_parts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = Pipeline("p")
    reported: list[int] = []
    gathered: list[int] = []
    all_of_them = asyncio.Barrier(20)

    async def sizes(results: Results[int, str]) -> list[int]:
        return [len(it.value) async for it in results]

    @p.asset
    @scatter(range(20), gather=sizes)
    async def each(number: int) -> str:
        await all_of_them.wait()
        # What does not compress: what is stored is as long as what was returned.
        return random.Random(number).randbytes(450_000).hex()

    app = await stage.app(p)
    coordinator = app.coordinator(ScatterCoordinator)
    turn_of, page_of = coordinator.turn, coordinator.gather

    async def turn(turn: PumpTurn) -> Turned:
        reported.append(sum(len(it.result or "") for it in turn.outcomes))
        return await turn_of(turn)

    async def gather(*given: Any, **options: Any) -> Sequence[ItemRecord]:
        page = await page_of(*given, **options)
        gathered.append(len(page))
        return page

    monkeypatch.setattr(coordinator, "turn", turn)
    monkeypatch.setattr(coordinator, "gather", gather)

    assert await app.run(each) == [900_000] * 20
    assert max(reported) <= TURN_BYTES
    assert sum(gathered) == 20
    if isinstance(app.store, PostgresStore):
        assert max(gathered) < 10
