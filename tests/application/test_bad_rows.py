"""Rows that somebody else wrote: one that cannot be understood fails alone."""

import asyncio
import json
from typing import Any

import pytest

from flowstone import Context, Pipeline
from tests.application.conftest import AppOf, on_postgres
from tests.application.stage import PostgresStage, drain, eventually, statuses, steps
from tests.scenarios.locks import connected

pytestmark = on_postgres


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def told(ctx: Context) -> str:
        return str(ctx.partition)

    @p.asset
    def plain() -> str:
        return "plain"

    return p


@pytest.mark.parametrize(
    "options", [[1], 7, "text", {"p.told": 3}, {"p.told": {"config": 5}}, {"p.told": {"io": 5}}]
)
async def test_options_that_make_no_sense(
    app_of: AppOf, stage: PostgresStage, options: Any
) -> None:
    app = await app_of(pipeline())
    bad = await app.enqueue("told")
    good = await app.enqueue("told", partition="x")
    stage.admin.execute(
        "UPDATE flowstone_runs SET options = %s::json WHERE id = %s",
        [json.dumps(options), bad.run_id],
    )

    await asyncio.wait_for(drain(app), 10)

    assert await good.result() == "x"
    assert (await bad.status()).status.is_terminal


async def test_a_partition_that_does_not_decode(app_of: AppOf, stage: PostgresStage) -> None:
    app = await app_of(pipeline())
    handle = await app.enqueue_many(["told", "plain"], partition="x")
    stage.admin.execute("UPDATE flowstone_materializations SET partition = 't:not base64'")

    await asyncio.wait_for(drain(app), 10)

    assert await statuses(app, handle.run_id) == {
        "told[t:not base64]": "failed",
        "plain[t:not base64]": "succeeded",
    }
    step = (await steps(app, handle.run_id))["told[t:not base64]"]
    assert json.loads(step.error or "")["code"] == "invalid_partition"


async def test_a_value_that_was_removed(app_of: AppOf, stage: PostgresStage) -> None:
    p = pipeline()
    app = await app_of(p)
    await app.run("plain")
    stage.admin.execute("DELETE FROM flowstone_values")

    with pytest.raises(Exception, match=r"the value of p\.plain .* is no longer stored"):
        await app.get("plain")
    assert await app.run("plain", force=True) == "plain"


async def test_a_transaction_that_holds_a_dedupe_decides_for_those_who_wait(
    app_of: AppOf, stage: PostgresStage
) -> None:
    app = await app_of(pipeline())
    async with connected(stage.dsn) as connection:
        for ends in ("rollback", "commit"):
            transaction = connection.transaction()
            await transaction.start()
            first = await app.enqueue("told", dedupe="once", conn=connection)
            waiting = asyncio.create_task(app.enqueue("told", dedupe="once", partition=ends))
            await _is_blocked(stage)

            await getattr(transaction, ends)()

            second = await asyncio.wait_for(waiting, 10)
            if ends == "rollback":
                assert second.created
                stage.admin.execute("DELETE FROM flowstone_runs")
            else:
                assert (second.run_id, second.created) == (first.run_id, False)


async def _is_blocked(stage: PostgresStage) -> None:
    blocked = (
        "SELECT FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    await eventually(lambda: stage.admin.execute(blocked).fetchone() is not None)
