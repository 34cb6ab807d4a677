"""Whoever waits is woken: soon, twice, or not for a long time."""

import json

from tests.chaos.client import Client
from tests.chaos.loads.transactions import LOST
from tests.chaos.waiting import WAITING_ON

MEAN_SECONDS = 0.4
WAITERS = """
SELECT materialization_id FROM flowstone.waiting WHERE waiting_on = $1 AND random() < $2
ORDER BY 1 LIMIT 20
"""


async def drive(client: Client) -> None:
    for id_ in await client.attempt(lambda: waiters(client, 0.3)) or []:
        for _ in range(client.chance.choice([1, 1, 2])):
            await wake(client, id_)
    await client.pause(MEAN_SECONDS)


async def waiters(client: Client, share: float) -> list[int]:
    """Return such a share of those who wait."""
    try:
        async with client.server.connected() as conn:
            rows = await conn.fetch(WAITERS, WAITING_ON, share)
    except LOST:
        return []
    return [row["materialization_id"] for row in rows]


async def wake(client: Client, id_: int) -> None:
    """Wake one; a wake-up whose reply was lost may have been heard."""
    text = client.text("wake")
    client.asked.wakes.append((id_, text))
    store = client.app.store
    await client.attempt(lambda: store.wake(id_, json.dumps(text)))
