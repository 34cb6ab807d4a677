"""Assets that ask somebody whether their value may count."""

from tests.chaos.approved import ENDS
from tests.chaos.client import Client
from tests.chaos.loads.runs import begin, cancel_some

MEAN_SECONDS = 0.8


async def drive(client: Client) -> None:
    handle = await begin(client, "approvals", client.chance.choice(sorted(ENDS)))
    await cancel_some(client, handle)
    await client.pause(MEAN_SECONDS)
