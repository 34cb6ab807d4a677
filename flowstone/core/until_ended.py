"""How one waits for the end of a run or a job, however long it takes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError

R = TypeVar("R")

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How late a lost wake-up can make a waiter; the wake-up itself is immediate."""


async def until_ended(
    store: Store,
    topic: str,
    look: Callable[[], Awaitable[R]],
    is_over: Callable[[R], bool],
    limit: timedelta | None,
) -> R | None:
    """
    Return what ``look`` sees once that is over; None when it is not, in the time there is.

    Wakes by notification, and looks every few seconds for one that was lost. A store that does not
    answer is waited for.
    """
    await store.listen()
    with store.wakeups.watch([topic]) as watch, suppress(TimeoutError):
        async with asyncio.timeout(None if limit is None else limit.total_seconds()):
            while not is_over(seen := await when_reachable(look, topic)):
                await watch.wait(POLL_SECONDS)
            return seen
    return None


async def when_reachable(ask: Callable[[], Awaitable[R]], what: str) -> R:
    """Return the answer; while the store does not answer, wait for it."""
    backoff = Backoff()
    while True:
        try:
            return await ask()
        except DatabaseError as error:
            if not error.retryable:
                raise
            logger.warning("%s cannot be looked at (%s); trying again", what, error)
            await backoff.wait()
