"""
The service that sweeps orphans: about four times a day one of all workers does.

No one is elected: every worker asks now and then for a lease that lasts until the next sweep is
due, and whoever gets it sweeps. So it is not done again by each that is deployed meanwhile.
"""

import asyncio
import logging
import random
import secrets
from contextlib import suppress
from datetime import timedelta

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError
from flowstone.core.sweep import Sweeper

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=6)
LEASE = "sweep"

FIRST_SECONDS = 60.0
"""A worker that only drains a queue, or runs a moment, does not begin."""

ASK_SECONDS = 600.0


class Sweeping(Service):
    """
    Sweeps what the application's IO managers hold.

    Args:
        grace: Younger orphans are left.
    """

    def __init__(self, sweeper: Sweeper, grace: timedelta) -> None:
        self._sweeper = sweeper
        self._grace = grace

    async def run(self, app: Host) -> None:
        """Sweep whenever it is due and nobody else does."""
        await asyncio.sleep(FIRST_SECONDS * random.uniform(1.0, 1.5))
        while True:
            await self.sweep_if_due(app.store)
            await asyncio.sleep(ASK_SECONDS * random.uniform(0.8, 1.2))

    async def sweep_if_due(self, store: Store) -> bool:
        """
        Sweep, and return whether it was due.

        What is cut short is due again at once.
        """
        holder = secrets.token_hex(8)
        if not await store.hold_lease(LEASE, holder, EVERY):
            return False
        try:
            swept = await self._sweeper.sweep(store, grace=self._grace)
        except BaseException:
            with suppress(DatabaseError):
                await store.give_up_lease(LEASE, holder)
            raise
        for it in swept:
            if it.has_failed:
                logger.warning("Orphans in %s were not all swept: %s", it.io, it.problem)
        return True
