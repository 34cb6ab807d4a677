"""How a load begins the run of one asset, in a partition of its own, and thinks better of some."""

from flowstone.core.handle import RunHandle
from tests.chaos.client import Client

CANCELLED_SHARE = 0.12


async def begin(client: Client, load: str, asset: str) -> RunHandle[object] | None:
    """Enqueue it; None when it is not known whether there is a run."""
    app, partition = client.app, client.text(load)
    handle = await client.attempt(lambda: app.enqueue(asset, partition=partition))
    if handle is not None:
        client.asked.runs[handle.run_id] = load
    return handle


async def cancel_some(client: Client, handle: RunHandle[object] | None) -> None:
    """Cancel a share of them, sooner or later."""
    if handle is not None and client.chance.random() < CANCELLED_SHARE:
        await client.pause(client.chance.choice([0.01, 0.3, 1.5]))
        await client.insist(handle.cancel)
        client.asked.cancelled.add(handle.run_id)
