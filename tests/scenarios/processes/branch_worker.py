"""
A worker that kills itself at steps of a parallel asset: ``{"dsn": …}``.

It dies at the step that the partition is named after, with a number: ``after_settle 3``. The file
``died-<partition>`` says that it has, and then nobody dies there again. The steps are ``before_``
and ``after_`` each call of the coordinator, and ``join``: the join was called.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from datetime import timedelta

from flowstone import FlowStone
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.parallel import (
    BranchPlan,
    BranchResult,
    FailureMode,
    ParallelCoordinator,
    ParallelStatus,
)
from flowstone.plugins.parallel.postgres_coordinator import PostgresParallel
from tests.scenarios.deaths import LONG
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines import branches
from tests.scenarios.processes.life import argument, end_with_the_test


def die(partition: str, *steps: str) -> None:
    ledger = Ledger.of_this_process()
    if partition.split(maxsplit=1)[0] in steps and not ledger.is_open(f"died-{partition}"):
        ledger.open_gate(f"died-{partition}")
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(PostgresParallel):
    async def create_execution(
        self,
        materialization_id: int,
        branches: Mapping[str, BranchPlan],
        *,
        failure_mode: FailureMode = FailureMode.ALL_OR_NOTHING,
        timeout: timedelta | None = None,
    ) -> int:
        partition = await self._partition(materialization_id)
        die(partition, "before_create")
        made = await super().create_execution(
            materialization_id, branches, failure_mode=failure_mode, timeout=timeout
        )
        die(partition, "after_create")
        return made

    async def schedule_branches(self, execution_id: int) -> ParallelStatus:
        status = await super().schedule_branches(execution_id)
        die(await self._partition(execution_id), "after_schedule")
        return status

    async def settle_branches(
        self, execution_id: int, results: Mapping[str, BranchResult]
    ) -> ParallelStatus:
        partition = await self._partition(execution_id)
        die(partition, "before_settle")
        status = await super().settle_branches(execution_id, results)
        die(partition, "after_settle")
        return status

    async def end_execution(self, execution_id: int, error: str | None) -> ParallelStatus:
        status = await super().end_execution(execution_id, error)
        die(await self._partition(execution_id), "after_join")
        return status

    async def _partition(self, execution_id: int) -> str:
        found = await self._store.awaited(execution_id)
        return found[0].key.partition.removeprefix("s:")


async def work(dsn: str) -> None:
    end_with_the_test()
    coordinators = {ParallelCoordinator: Deadly}
    async with FlowStone(branches.branches, dsn=dsn, coordinators=coordinators) as app:
        options = WorkerOptions({"default": 1}, lease=timedelta(seconds=LONG), max_rescues=100)
        await app.worker(options).run()


if __name__ == "__main__":
    asyncio.run(work(argument()["dsn"]))
