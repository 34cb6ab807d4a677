"""A worker that starts while its database is away waits for it, as one that is at work does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowstone.cli.output import warn
from flowstone.core.backoff import Backoff
from flowstone.core.errors import DatabaseError

T = TypeVar("T")

START_SECONDS = 60.0
"""A restart or a failover is over by then; a wrong address was told of long before."""


async def patiently(connect: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
    """
    Return what ``connect`` does, tried again while nobody answers, for `START_SECONDS` at most.

    Raises:
        DatabaseError: One that waiting does not mend, or the last one when time is up.
    """
    backoff = Backoff()
    until = asyncio.get_running_loop().time() + (START_SECONDS if seconds is None else seconds)
    while True:
        try:
            return await connect()
        except DatabaseError as error:
            left = until - asyncio.get_running_loop().time()
            if not error.retryable or left <= 0:
                raise
            warn(f"{error}; trying again, for {left:.0f}s at most")
            await asyncio.sleep(min(left, backoff.next()))
