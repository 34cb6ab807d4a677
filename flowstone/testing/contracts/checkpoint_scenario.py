"""An approval and the materialization that waits for it, for tests of who keeps approvals."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Claim
from flowstone.core.status import Status
from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalEvent,
    ApprovalRules,
    CheckpointCoordinator,
    NewApproval,
    OnTimeout,
)
from flowstone.testing.contracts.store_runs import (
    SmallRun,
    Worker,
    begun,
    new_worker,
    statuses,
    waited,
)

HOUR = timedelta(hours=1)

A_DAY = ApprovalRules(timeout=24 * HOUR, approvers=("risk",))
ESCALATING = replace(A_DAY, on_timeout=OnTimeout.ESCALATE, escalate_to=("cfo",))


class CheckpointSuite:
    """What every part of the suite needs; a subclass provides ``app``."""

    @pytest.fixture
    async def app(self) -> FlowStone:
        """
        Give an open application with the coordinator, over an empty store.

        Its time has to be one that `flowstone.testing.advance` can move.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `app`")

    @pytest.fixture
    def approvals(self, app: FlowStone) -> CheckpointCoordinator:
        """Give the coordinator of the application."""
        return app.coordinator(CheckpointCoordinator)

    @pytest.fixture
    async def waiting(self, app: FlowStone) -> "WaitingApproval":
        """Give an approval whose materialization waits for it."""
        return await asked(app)


class WaitingApproval:
    """An approval, its run, and a worker to go on with it."""

    def __init__(self, app: FlowStone, worker: Worker, run: SmallRun, approval: Approval) -> None:
        self.worker = worker
        self.run = run
        self.id = approval.id
        self._app = app

    async def status(self) -> Status:
        """Return where its materialization stands."""
        return (await statuses(self._app.store, self.run))["a"]


async def asked(app: FlowStone, rules: ApprovalRules = A_DAY) -> WaitingApproval:
    """Return an approval whose materialization waits for it."""
    worker, run, claim = await _begun(app)
    approval = await app.coordinator(CheckpointCoordinator).request(new(claim, run, rules))
    assert await worker.settle(waited(claim, timeout=rules.timeout)) == []
    return WaitingApproval(app, worker, run, approval)


async def _begun(app: FlowStone) -> tuple[Worker, SmallRun, Claim]:
    worker, run, claim = await begun(app.store)
    if claim.id != run["a"]:  # of another test's run that is still there
        worker = await new_worker(app.store)
        claim = (await worker.claim(run=run))["a"]
    return worker, run, claim


def new(
    claim: Claim,
    run: SmallRun,
    rules: ApprovalRules = A_DAY,
    *,
    message: str = "large",
    value: str = '{"n" : 1}',
) -> NewApproval:
    """Return what the claimed materialization asks for."""
    return NewApproval(
        materialization_id=claim.id,
        claim=claim.claim,
        run_id=run.id,
        asset=claim.asset,
        partition=claim.partition,
        message=message,
        value=value,
        rules=rules,
    )


async def settled(approvals: CheckpointCoordinator) -> list[ApprovalEvent]:
    """Take all that is due, settle it, and return what it was."""
    notices = await approvals.take_notices()
    for notice in notices:
        await approvals.settle_notice(notice.id, told=[], is_done=True)
    return [it.event for it in notices]
