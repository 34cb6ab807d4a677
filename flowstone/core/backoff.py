"""How long to leave something alone that does not answer."""

import asyncio
import random

SHORTEST = 0.05
LONGEST = 5.0


class Backoff:
    """Pauses of growing length with jitter, seconds, until something answers again."""

    def __init__(self) -> None:
        self._pause = SHORTEST

    def reset(self) -> None:
        """It has answered: the next pause is a short one."""
        self._pause = SHORTEST

    def next(self) -> float:
        """Return how long to wait this time; it is longer the next time."""
        self._pause = min(LONGEST, self._pause * 2)
        return self._pause * random.uniform(0.5, 1.0)

    async def wait(self) -> None:
        """Wait for the next pause."""
        await asyncio.sleep(self.next())
