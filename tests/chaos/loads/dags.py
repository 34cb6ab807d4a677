"""Parts of the random pipeline: one target or several, one partition or several, forced or not."""

from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS

MEAN_SECONDS = 0.7


def some_targets(client: Client) -> list[str]:
    """Name some assets of the random pipeline."""
    names = [name for name in client.app.definitions.assets if name.startswith("dag.")]
    return client.chance.sample(names, client.chance.choice([1, 1, 2, 5]))


async def drive(client: Client) -> None:
    app = client.app
    targets = some_targets(client)
    over = client.chance.sample(PARTITIONS, client.chance.choice([1, 1, 2]))
    force = client.chance.random() < 0.6
    handle = await client.attempt(lambda: app.enqueue_many(targets, over=over, force=force))
    if handle is not None:
        client.asked.runs[handle.run_id] = "dags"
    await client.pause(MEAN_SECONDS)
