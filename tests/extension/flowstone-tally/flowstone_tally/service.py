"""The background service: wakes what waits for a tally, on one worker of all."""

import asyncio
import json

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone_tally.counts import Connection, reached_in_memory


class Counter(Service):
    """Looks at the counts a few times a second."""

    is_elected = True

    def __init__(self, every_seconds: float = 0.2) -> None:
        self._every = every_seconds

    async def run(self, app: Host) -> None:
        if app.dsn is None:
            while True:
                await self._wake(app, await reached_in_memory(app))
        async with Connection(app.dsn, app.schema) as counts:
            while True:
                await self._wake(app, await counts.reached())

    async def _wake(self, app: Host, reached: list[tuple[int, str, int]]) -> None:
        for materialization_id, name, count in reached:
            if await app.store.wake(materialization_id, json.dumps(count)):
                app.telemetry.execute("tally.reached", {"count": count}, {"name": name})
        await asyncio.sleep(self._every)
