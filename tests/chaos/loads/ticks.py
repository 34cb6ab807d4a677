"""A backlog of equal work, so that its rate is that of the slots: the throughput is read off it."""

from tests.chaos.client import Client
from tests.chaos.loads.transactions import LOST

BACKLOG = 300
SIZE = 100
EVERY_SECONDS = 0.5
WAITING = """
SELECT count(*) FROM flowstone.procrastinate_jobs WHERE queue_name = 'probe' AND status = 'todo'
"""


async def drive(client: Client) -> None:
    app = client.app
    if await client.attempt(lambda: backlog(client)) in range(BACKLOG):
        handle = await client.attempt(
            lambda: app.enqueue_many(["probe.tick"], over=range(SIZE), force=True)
        )
        if handle is not None:
            client.asked.runs[handle.run_id] = "ticks"
    await client.pause(EVERY_SECONDS)


async def backlog(client: Client) -> int:
    """Return how much waits; -1 when nobody answers."""
    try:
        async with client.server.connected() as conn:
            found: int = await conn.fetchval(WAITING)
            return found
    except LOST:
        return -1
