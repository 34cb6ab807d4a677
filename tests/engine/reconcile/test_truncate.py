"""``TRUNCATE`` of procrastinate's jobs strands no run, and gives no id twice."""

import asyncpg
import pytest

from flowstone.core.status import RunStatus, Status
from flowstone.engine.store import PostgresStore
from flowstone.testing.contracts.store_contract_jobs import job
from flowstone.testing.contracts.store_runs import (
    begun,
    new_run,
    run_status,
    succeeded,
)
from flowstone.testing.contracts.store_unique_jobs import unique_job
from tests.engine.reconcile.meddling import outcomes

NOTES = "SELECT count(*) FROM flowstone.flowstone_interventions"


class TestTruncate:
    @pytest.mark.parametrize("restart", ["", "RESTART IDENTITY"])
    async def test_is_as_if_all_jobs_were_deleted_and_gives_no_id_again(
        self, store: PostgresStore, pg: asyncpg.Connection, restart: str
    ) -> None:
        worker, run, claim = await begun(store)
        waiting = await new_run(store, {"a": []})
        [alone] = await store.enqueue([unique_job()])
        done = await new_run(store, {"a": []})
        await worker.settle(succeeded((await worker.claim())["a"]))

        await pg.execute(f"TRUNCATE procrastinate_jobs {restart} CASCADE")

        assert set((await outcomes(store)).values()) == {"cancelled"}
        for each in (run, waiting):
            assert await run_status(store, each) is RunStatus.CANCELLED
        assert await run_status(store, done) is RunStatus.SUCCEEDED
        assert (await job(store, alone.job_id)).status is Status.CANCELLED
        assert await worker.settle(succeeded(claim)) == [claim.id]
        assert await pg.fetchval(NOTES) == 0
        again = await new_run(store, {"a": []})
        assert again["a"] > alone.job_id

    async def test_with_all_of_ours_begins_anew(
        self, store: PostgresStore, pg: asyncpg.Connection
    ) -> None:
        await new_run(store, {"a": []})
        await pg.execute(
            "TRUNCATE procrastinate_jobs, flowstone_materializations, flowstone_runs, "
            "flowstone_interventions RESTART IDENTITY CASCADE"
        )

        assert await pg.fetchval(NOTES) == 0
        assert (await new_run(store, {"a": []}))["a"] == 1
