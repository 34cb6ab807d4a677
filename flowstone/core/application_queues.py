"""``app.queues``: pause, limit, scale and drain queues while workers run."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Unpack

from flowstone.core import duration
from flowstone.core.backoff import Backoff
from flowstone.core.contracts.queues import QueueLimits, QueueRecord
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError, InvalidOptionError, QueueNotDrainedError
from flowstone.core.queue import GivenLimits, checked_limits, checked_name

logger = logging.getLogger(__name__)

MOST_SLOTS = 10_000
LOOK_SECONDS = 0.5


class ApplicationQueues:
    """
    The queues of an application, for all its workers, wherever they run.

    Pauses and limits hold from the moment when the call returns, whether or not a worker has heard
    of them; they hold for ``app.run`` too. Workers hear of other numbers of slots at once, and
    without LISTEN within half of their lease. A queue that nobody has said anything about costs
    nothing.

    Args:
        limits: What code says, by the queue's name.
    """

    def __init__(self, store: Store, limits: Mapping[str, QueueLimits]) -> None:
        self._store = store
        self._limits = limits

    async def list(self) -> list[QueueRecord]:
        """Return the queues that have settings, jobs or workers, by name."""
        return list(await self._store.queues())

    async def status(self, name: str) -> QueueRecord:
        """Return one queue as it stands; one that nobody has used yet is an empty one."""
        [record] = await self._store.queues(checked_name(name))
        return record

    async def pause(self, name: str) -> None:
        """Let nothing of it begin, on any worker; what runs goes on. Twice is harmless."""
        await self._store.pause_queue(checked_name(name))

    async def resume(self, name: str) -> None:
        """End a pause; nothing happens where there is none."""
        await self._store.resume_queue(checked_name(name))

    async def limit(self, name: str, **limits: Unpack[GivenLimits]) -> None:
        """
        Limit a queue, over all workers together; what is not given stays as it is.

        Limits that were set here stay until they are set anew or given back with `reset`: what
        code says about this queue no longer counts.

        Args:
            max_running: How many of it may run at once; None removes the limit.
            rate: How many of it may start in any period, such as ``"100/m"``; None removes it.
            max_running_per_key: How many with one value of ``Queue(key=…)`` may run at once.
            rate_per_key: How many with one value of it may start in any period.

        Raises:
            InvalidOptionError: Nothing is given, or a value is no limit.
        """
        if not limits:
            raise InvalidOptionError("limit: give max_running=, rate=, or both; None removes one")
        await self._store.limit_queue(checked_name(name), **checked_limits(limits))

    async def reset(self, name: str) -> None:
        """Give the limits back to code: what ``FlowStone(queues=…)`` says counts again."""
        await self._store.reset_queue_limits(checked_name(name))
        if name in self._limits:
            await self._store.declare_queues({name: self._limits[name]})

    async def scale(self, name: str, slots: int | None, *, worker: int | None = None) -> None:
        """
        Say how many of it run at once on each worker that serves it, those to come included.

        What runs beyond that goes on until it ends.

        Args:
            slots: None is as each worker was started.
            worker: Only on this one, for as long as it lives; goes before what is said for all.

        Raises:
            InvalidOptionError: It is no number of slots, or there is no such worker.
        """
        if slots is not None and not (type(slots) is int and 0 <= slots <= MOST_SLOTS):
            raise InvalidOptionError(f"slots={slots!r} must be 0 to {MOST_SLOTS}, or None")
        if not await self._store.scale_queue(checked_name(name), slots, worker=worker):
            raise InvalidOptionError(f"there is no worker {worker}; the view workers lists them")

    async def stop(self, name: str, *, worker: int | None = None) -> None:
        """
        Let workers, or one of them, begin nothing of it; ``scale(name, None)`` undoes it.

        Unlike a pause it can be said of one worker.
        """
        await self.scale(name, 0, worker=worker)

    async def drain(self, name: str, *, timeout: timedelta | str | float | None = None) -> None:
        """
        Wait until nothing of it runs and nothing is due; of a paused queue, until nothing runs.

        What is due later does not count. Workers have to be there to do it.

        Raises:
            QueueNotDrainedError: It is not in this time.
        """
        name = checked_name(name)
        limit = None if timeout is None else duration.parse(timeout, option="timeout")
        with self._store.wakeups.watch(["queues"]) as watch, suppress(TimeoutError):
            async with asyncio.timeout(None if limit is None else limit.total_seconds()):
                while not await self._is_drained(name):
                    await watch.wait(LOOK_SECONDS)
                return
        left = await self.status(name)
        raise QueueNotDrainedError(name, limit or timedelta(), running=left.running, due=left.due)

    async def _is_drained(self, name: str) -> bool:
        backoff = Backoff()
        while True:
            try:
                return await self._store.is_drained(name)
            except DatabaseError as error:
                if not error.retryable:
                    raise
                logger.warning("Queue %s cannot be looked at (%s); trying again", name, error)
                await backoff.wait()
