"""``app.limits``: the application's own limits, set, asked and reset while workers run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from flowstone.core.contracts.limits import LimitRecord, LimitValues
from flowstone.core.contracts.store import Store
from flowstone.core.errors import UnknownLimitError
from flowstone.core.limit import Limit, checked_name, held


class ApplicationLimits:
    """
    Limits by name, over all workers.

    What code says is written when a process first uses a limit, where nobody has said anything else
    at run time.

    Args:
        values: What code says.
    """

    def __init__(self, store: Store, values: Mapping[str, LimitValues]) -> None:
        self._store = store
        self._values = values
        self._is_declared = not values

    @asynccontextmanager
    async def held(
        self, name: str, holder: tuple[int, int], max_wait: timedelta | str | float | None
    ) -> AsyncIterator[None]:
        """Hold a limit for an attempt; see `AttemptContext.limit`."""
        await self._declare()
        async with held(self._store, name, holder, max_wait):
            yield

    async def _declare(self) -> None:
        if not self._is_declared:
            await self._store.set_limits(self._values, by_code=True)
            self._is_declared = True

    async def set(self, name: str, limit: Limit) -> None:
        """
        Say at run time what a limit allows; what code says about it no longer counts.

        Whoever holds a slot keeps it.
        """
        await self._declare()
        await self._store.set_limits({checked_name(name): limit.values}, by_code=False)

    async def remove(self, name: str) -> bool:
        """Forget a limit; one that code says is there again with the next process that uses it."""
        await self._declare()
        return await self._store.remove_limit(checked_name(name))

    async def list(self) -> list[LimitRecord]:
        """Return all of them, by name."""
        await self._declare()
        return list(await self._store.limits())

    async def status(self, name: str) -> LimitRecord:
        """
        Say how a limit stands.

        Raises:
            UnknownLimitError: There is none of this name.
        """
        await self._declare()
        found = await self._store.limits(checked_name(name))
        if not found:
            raise UnknownLimitError(name, [it.name for it in await self._store.limits()])
        return found[0]

    async def check(self, name: str) -> timedelta | None:
        """
        Use one of the rate if it is to be had: None says so; otherwise how long to wait for it.

        For code outside of jobs and assets. Slots are held by attempts: ``ctx.limit(name)``.

        Raises:
            UnknownLimitError: There is none of this name.
        """
        await self._declare()
        return (await self._store.take_limit(checked_name(name), None)).wait

    async def reset(self, name: str) -> None:
        """
        Forget what was used of it and free its slots; who holds one goes on without it.

        Raises:
            UnknownLimitError: There is none of this name.
        """
        await self._declare()
        if not await self._store.reset_limit(checked_name(name)):
            raise UnknownLimitError(name, [it.name for it in await self._store.limits()])
