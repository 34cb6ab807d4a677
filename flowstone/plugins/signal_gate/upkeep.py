"""What keeps signals that no gate ever takes from growing without bound."""

import asyncio
from datetime import timedelta
from typing import ClassVar

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone.plugins.signal_gate.coordinator import GateCoordinator

BATCH = 1000
FIRST_SECONDS = 5.0
"""A worker that only drains a queue, or runs a moment, does not begin."""

EVERY_SECONDS = 600.0
REST_SECONDS = 0.05
"""After a full batch."""


class EarlySignals(Service):
    """Deletes signals that came before a gate which has not opened for long."""

    contract_version: ClassVar[str] = "1.0.0"
    is_elected: ClassVar[bool] = True
    takeover_seconds: ClassVar[float] = 600.0
    """It can wait, and asking costs every worker."""

    def __init__(self, keep: timedelta) -> None:
        self._keep = keep

    async def run(self, app: Host) -> None:
        """Prune now and then, in batches; see `Service.run`."""
        gates = app.coordinator(GateCoordinator)
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            count = await gates.prune(self._keep, limit=BATCH)
            await asyncio.sleep(REST_SECONDS if count == BATCH else EVERY_SECONDS)
