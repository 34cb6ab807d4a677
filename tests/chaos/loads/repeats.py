"""The same request several times, at once and one after another: ``dedupe`` makes one run of it."""

import asyncio

from flowstone.core.handle import RunHandle
from tests.chaos.client import Client
from tests.chaos.dag import PARTITIONS
from tests.chaos.loads.dags import some_targets

MEAN_SECONDS = 1.0


async def drive(client: Client) -> None:
    text = client.text("repeat")
    target = some_targets(client)[0]
    partition = client.chance.choice(PARTITIONS)

    async def ask() -> RunHandle[object]:
        app = client.app
        return await client.insist(lambda: app.enqueue(target, partition=partition, dedupe=text))

    asking = [asyncio.create_task(ask()) for _ in range(client.chance.randint(2, 4))]
    handles = await asyncio.gather(*asking)
    handles.append(await ask())
    client.asked.folded[text] = {handle.run_id for handle in handles}
    client.asked.runs[handles[0].run_id] = "repeats"
    await client.pause(MEAN_SECONDS)
