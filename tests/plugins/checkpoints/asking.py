"""A trade that was asked about, and the end of its run."""

import pytest

from flowstone import FlowStone, RunWaiting
from flowstone.plugins.checkpoints import (
    Approval,
    list_approvals,
)
from tests.plugins.checkpoints.desk import Desk


async def asked(app: FlowStone, desk: Desk) -> tuple[int, Approval]:
    """Return a run that waits for its trade to be approved, and the approval."""
    with pytest.raises(RunWaiting) as caught:
        await app.run(desk.booked)
    (found,) = await list_approvals(app)
    return caught.value.run_id, found


async def result(app: FlowStone, run_id: int) -> object:
    return await app.finish(app.handle(run_id))
