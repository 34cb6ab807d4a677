"""Parallel branches, and branches of which a router selects one."""

from tests.chaos.branched import JOINED, MERGED, STRICT
from tests.chaos.client import Client
from tests.chaos.loads.runs import begin, cancel_some

MEAN_SECONDS = 1.0


async def drive(client: Client) -> None:
    handle = await begin(client, "branches", client.chance.choice([JOINED, STRICT, MERGED]))
    await cancel_some(client, handle)
    await client.pause(MEAN_SECONDS)
