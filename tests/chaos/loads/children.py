"""Work for the workers' child processes."""

from tests.chaos.children import children
from tests.chaos.client import Client

MEAN_SECONDS = 1.0


async def drive(client: Client) -> None:
    app = client.app
    handle = await client.attempt(
        lambda: app.enqueue_many(children, over=range(client.chance.randint(1, 4)), force=True)
    )
    if handle is not None:
        client.asked.runs[handle.run_id] = "children"
    await client.pause(MEAN_SECONDS)
