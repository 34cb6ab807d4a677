"""
A worker that dies by kill -9 at a step of an approval: ``{"dsn": …}``.

It dies at the step that the partition of the approval is named after, once: the gate
``died-<step>`` says that it has. Steps are ``before-`` and ``after-`` the calls of the coordinator
that a strategy makes.
"""

import asyncio
import os
import signal
from datetime import timedelta

from flowstone import FlowStone
from flowstone.core.worker_options import WorkerOptions
from flowstone.plugins.checkpoints import Approval, CheckpointCoordinator, NewApproval
from flowstone.plugins.checkpoints.postgres_approvals import PostgresApprovals
from tests.scenarios.deaths import LONG
from tests.scenarios.ledger import Ledger
from tests.scenarios.pipelines.approving import approving
from tests.scenarios.processes.life import argument, end_with_the_test


class Deadly(PostgresApprovals):
    async def request(self, new: NewApproval) -> Approval:
        _die("before-request", new.partition)
        approval = await super().request(new)
        _die("after-request", new.partition)
        return approval

    async def expire(self, approval_id: int) -> Approval:
        before = await self.get(approval_id)
        _die("before-resume", before.partition)
        approval = await super().expire(approval_id)
        _die("after-resume", before.partition)
        return approval


def _die(step: str, partition: str) -> None:
    ledger = Ledger.of_this_process()
    if partition == step and not ledger.is_open(f"died-{step}"):
        ledger.open_gate(f"died-{step}")
        os.kill(os.getpid(), signal.SIGKILL)


async def work(dsn: str) -> None:
    end_with_the_test()
    coordinators = {CheckpointCoordinator: Deadly}
    async with FlowStone(approving, dsn=dsn, coordinators=coordinators) as app:
        options = WorkerOptions({"default": 1}, lease=timedelta(seconds=LONG), max_rescues=100)
        await app.worker(options).run()


if __name__ == "__main__":
    asyncio.run(work(argument()["dsn"]))
