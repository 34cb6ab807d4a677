"""A statement that lost against another one is made again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flowstone.core.errors import DatabaseError
from flowstone.engine.database_errors import Failure, connection_errors, failure_of

CONFLICTS = 10

T = TypeVar("T")


async def after_conflicts(once: Callable[[], Awaitable[T]]) -> T:
    """
    Return what a statement returns, repeated when a deadlock or a conflict undid all of it.

    The lock order makes them rare; two batches that touch the same dependents may still meet.
    """
    for _ in range(CONFLICTS):
        try:
            with connection_errors():
                return await once()
        except DatabaseError as error:
            if failure_of(error) is not Failure.CONFLICT:
                raise
            await asyncio.sleep(random.uniform(0, 0.01))
    with connection_errors():
        return await once()
