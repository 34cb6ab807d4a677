"""Assets that wait for a signal; some get it before they wait."""

from tests.chaos.client import Client
from tests.chaos.gated import ENDS, token_of
from tests.chaos.loads.runs import begin, cancel_some
from tests.chaos.loads.signals import send

MEAN_SECONDS = 0.8


async def drive(client: Client) -> None:
    asset = client.chance.choice(sorted(ENDS))
    handle = await begin(client, "gates", asset)
    if handle is not None and client.chance.random() < 0.3:
        await send(client, token_of(asset, handle.run_id))
    await cancel_some(client, handle)
    await client.pause(MEAN_SECONDS)
