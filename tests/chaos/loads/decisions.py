"""Approvals are decided: by one, or by several at once who do not agree."""

import asyncio
from dataclasses import replace

from flowstone.plugins.checkpoints import (
    Approval,
    ApprovalClosedError,
    approve,
    held_value,
    list_approvals,
    reject,
)
from tests.chaos.audit import Made
from tests.chaos.client import Client

MEAN_SECONDS = 0.5


async def drive(client: Client) -> None:
    await decide_some(client, 0.4)
    await client.pause(MEAN_SECONDS)


async def decide_some(client: Client, share: float) -> None:
    """Decide such a share of the approvals that are open."""
    app = client.app
    for approval in await client.attempt(lambda: list_approvals(app)) or []:
        if client.chance.random() < share:
            count = client.chance.choice([1, 1, 2, 3])
            await asyncio.gather(*(decide(client, approval) for _ in range(count)))


async def decide(client: Client, approval: Approval) -> None:
    """Decide somehow; a decision whose reply was lost may count."""
    app, by = client.app, client.text("decider")
    status = client.chance.choice(["approved", "modified", "rejected"])
    client.asked.decisions[by] = (approval.id, status, "unknown")

    async def say() -> Approval:
        if status == "rejected":
            return await reject(app, approval.id, by=by)
        if status == "approved":
            return await approve(app, approval.id, by=by)
        held = held_value(app, approval)
        assert isinstance(held, Made)
        return await approve(app, approval.id, by=by, value=replace(held, payload=by))

    try:
        decided = await client.attempt(say)
    except ApprovalClosedError:
        client.asked.decisions[by] = (approval.id, status, "too late")
    else:
        if decided is not None:
            client.asked.decisions[by] = (approval.id, status, "decided")
