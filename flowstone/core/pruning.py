"""
Pruning at work: on one elected worker, now and then, in small batches with pauses between them.

It touches only what has ended, on a connection that no turn uses, and rests as long as a batch
took, so that work goes on beside it. Cut short anywhere it has lost nothing: each batch is a
transaction.
"""

import asyncio
from typing import ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.store import Pruned, Store
from flowstone.core.retention import Retention

BATCH = 1000
REST_SECONDS = 0.05
"""The least rest after a batch."""

FIRST_SECONDS = 5.0
"""A worker that only drains a queue, or runs a moment, does not begin."""

EVERY_SECONDS = 60.0


async def prune(store: Store, retention: Retention) -> Pruned:
    """Prune until nothing is left that is kept no longer, and return what went."""
    loop = asyncio.get_running_loop()
    pruned = Pruned()
    while True:
        began = loop.time()
        pruned += await store.prune(retention, limit=BATCH)
        if pruned.is_done:
            return pruned
        await asyncio.sleep(max(REST_SECONDS, loop.time() - began))


class Pruning(Service):
    """Keeps the application's retention policy."""

    contract_version: ClassVar[str] = "1.0.0"
    is_elected: ClassVar[bool] = True
    takeover_seconds: ClassVar[float] = 600.0
    """It can wait, and asking costs every worker."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    async def run(self, app: Host) -> None:
        """Prune for ever; see `Service.run`."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            pruned = await prune(app.store, self._retention)
            if pruned != Pruned():
                app.telemetry.execute("prune", pruned.counts(), {})
            await asyncio.sleep(EVERY_SECONDS)
