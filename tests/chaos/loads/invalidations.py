"""Values are declared stale while they are made."""

from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS
from tests.chaos.loads.dags import some_targets

MEAN_SECONDS = 2.0


async def drive(client: Client) -> None:
    app = client.app
    asset, partition = some_targets(client)[0], client.chance.choice(PARTITIONS)
    downstream = client.chance.random() < 0.5
    await client.attempt(lambda: app.invalidate(asset, partition=partition, downstream=downstream))
    await client.pause(MEAN_SECONDS)
