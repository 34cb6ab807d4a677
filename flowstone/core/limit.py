"""
A limit of the application's own: ``FlowStone(limits={"shop-api": Limit(slots=5, rate="100/m")})``.

::

    @shop.job
    async def fetch(ctx: JobContext, url: str) -> str:
        async with ctx.limit("shop-api"):
            return await http.get(url)

It holds over all workers: at most so many bodies are within such blocks at once, and at most so
many enter one in any period. What dies within one has left it when it is taken over.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from flowstone.core import duration
from flowstone.core import rate as rates
from flowstone.core.contracts.limits import LimitValues
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError, InvalidOptionError, LimitTimeoutError
from flowstone.core.rate import MOST, Rate


@dataclass(frozen=True, slots=True)
class Limit:
    """
    What a limit allows.

    Args:
        slots: How many hold it at once; None is any number.
        rate: How many begin in any period, such as ``"100/m"``; None is any number.
    """

    slots: int | None = None
    rate: Rate | str | None = None

    @property
    def values(self) -> LimitValues:
        """
        What stores know of it.

        Raises:
            InvalidOptionError: It allows nothing, or whatever there is.
        """
        if self.slots is None and self.rate is None:
            raise InvalidOptionError("a limit needs slots=, rate=, or both")
        if self.slots is not None and not (type(self.slots) is int and 1 <= self.slots <= MOST):
            raise InvalidOptionError(f"slots={self.slots!r} must be a whole number above 0")
        return LimitValues(self.slots, None if self.rate is None else rates.parse(self.rate))


def values_of(limits: Mapping[str, Limit] | None) -> Mapping[str, LimitValues]:
    """Return what code says, by name, or raise `InvalidOptionError`."""
    values = {}
    for name, limit in (limits or {}).items():
        if not isinstance(limit, Limit):
            raise InvalidOptionError(f"limits: {name!r} must be a Limit(...), not {limit!r}")
        try:
            values[checked_name(name)] = limit.values
        except InvalidOptionError as error:
            raise InvalidOptionError(f"limits: {name!r}: {error}") from error
    return values


LONGEST_NAME = 200


def checked_name(name: object) -> str:
    """Return the name of a limit, or raise `InvalidOptionError`."""
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= LONGEST_NAME:
        return name
    raise InvalidOptionError(f"a limit's name is a text of 1 to {LONGEST_NAME} characters")


@asynccontextmanager
async def held(
    store: Store,
    name: str,
    holder: tuple[int, int],
    max_wait: timedelta | str | float | None,
) -> AsyncIterator[None]:
    """
    Hold the limit for as long as the block runs; waits for it first.

    Raises:
        LimitTimeoutError: It was not to be had in that time.
        UnknownLimitError: There is none of this name.
    """
    slot_id = await _taken(store, name, holder, max_wait)
    try:
        yield
    finally:
        if slot_id is not None:
            # If the store is away the slot is free when the attempt has ended.
            with suppress(DatabaseError):
                await asyncio.shield(store.give_back_slot(name, slot_id))


async def _taken(
    store: Store, name: str, holder: tuple[int, int], max_wait: timedelta | str | float | None
) -> int | None:
    patience = None if max_wait is None else duration.parse(max_wait, option="max_wait")
    with store.wakeups.watch([f"limit:{name}"]) as watch:
        taken = await store.take_limit(name, holder)  # once, however short the patience
        try:
            async with asyncio.timeout(None if patience is None else patience.total_seconds()):
                while taken.wait is not None:
                    await watch.wait(taken.wait.total_seconds() * random.uniform(1.0, 1.2))
                    taken = await store.take_limit(name, holder)
        except TimeoutError:
            raise LimitTimeoutError(name, patience or timedelta()) from None
    return taken.slot_id
