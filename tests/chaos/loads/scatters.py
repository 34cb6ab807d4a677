"""Scatters: some hundred items, under a limit, paced, in batches, or in vain."""

from tests.chaos.client import Client
from tests.chaos.loads.runs import begin, cancel_some
from tests.chaos.scattered import SIZES

MEAN_SECONDS = 2.5


async def drive(client: Client) -> None:
    handle = await begin(client, "scatters", client.chance.choice(sorted(SIZES)))
    await cancel_some(client, handle)
    await client.pause(MEAN_SECONDS)
