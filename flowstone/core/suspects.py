"""
What may be killing its workers runs apart from others of its kind, so that the next death tells.

One suspect at a time is under way in a worker, beside everything that is none. The store is told
which, before it begins; others go back for a while, to this worker or to another.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

from flowstone.core.contracts.store import Claim
from flowstone.core.errors import DatabaseError

logger = logging.getLogger(__name__)

SHORTEST_SECONDS = 0.25
LONGEST_SECONDS = 30.0


class Suspects:
    """
    The one suspect of a worker, if it has one.

    Args:
        name: Tells the store which; see `Store.suspect`.
    """

    def __init__(self, name: Callable[[int], Awaitable[None]]) -> None:
        self._name = name
        self._admitted: Claim | None = None
        self._since = 0.0

    def admit(self, claim: Claim) -> bool:
        """Return whether the claim may be under way now, and take it for the one that is."""
        if not claim.is_suspect:
            return True
        if self._admitted is not None:
            return False
        self._admitted = claim
        self._since = asyncio.get_running_loop().time()
        return True

    @property
    def delay(self) -> timedelta:
        """
        How long another had better stay away: as long again as this one has taken so far.

        Give or take a half, so that several do not come back together, all to one worker.
        """
        so_far = asyncio.get_running_loop().time() - self._since
        seconds = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, so_far))
        return timedelta(seconds=seconds * random.uniform(0.5, 1.5))

    async def begin(self, claim: Claim) -> bool:
        """Return whether the suspect may begin: the store has to know that it does."""
        try:
            await self._name(claim.id)
        except DatabaseError as error:
            logger.warning("Materialization %s cannot begin yet: %s", claim.id, error)
            return False
        logger.warning(
            "%s was under way in %s workers that died; it begins as the only such one here",
            claim.asset,
            claim.rescues,
        )
        return True

    def end(self, claim: Claim) -> None:
        """Make room for the next one."""
        if self._admitted is claim:
            self._admitted = None
