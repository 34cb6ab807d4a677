"""
What only one of all workers does at a time: whoever holds a lease leads.

::

    for ever: take the lease ──held by another──▶ ask again in a third of it
                   │
                 leads: work() runs, the lease is renewed each third
                   │
                   └─ lost, not renewed in time, or work() ended ─▶ work() is stopped, then again

A leader that dies is replaced when its lease lapses. One that cannot renew stops before it lapses,
by a clock that it started before it asked, so two work at once only if stopping takes longer than a
fifth of the lease: what must not even then overlap needs a fence of its own.
"""

import asyncio
import logging
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)

Work = Callable[[], Awaitable[None]]


async def lead(store: Store, name: str, work: Work, *, lease: timedelta = LEASE) -> None:
    """
    Run ``work`` whenever this caller is the one of all who holds the lease; returns never.

    Cancel it to stop: work is stopped first, and the lease given up at once.

    Args:
        work: Runs until it is cancelled. One that returns or raises is begun again, by whoever
            leads then, a third of the lease later.
    """
    candidate = _Candidate(store, name, lease)
    while True:
        try:
            if await candidate.stands():
                await candidate.lead(work)
        finally:
            await candidate.step_down()
        await asyncio.sleep(lease.total_seconds() / 3 * random.uniform(0.8, 1.0))


class _Candidate:
    def __init__(self, store: Store, name: str, lease: timedelta) -> None:
        self._store = store
        self._name = name
        self._lease = lease
        # Not the worker's id: one worker may lead in several things, and one that is registered
        # again is the same process.
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._stop_at = 0.0
        self._may_hold = False

    async def stands(self) -> bool:
        """Ask for the lease, or renew it; a store that does not answer in time says no."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        seconds = self._lease.total_seconds()
        limit = self._stop_at if self._stop_at > asked_at else asked_at + seconds / 3
        held = False
        self._may_hold = True
        try:
            async with asyncio.timeout_at(limit):
                held = await self._store.hold_lease(self._name, self._holder, self._lease)
        except (DatabaseError, TimeoutError) as error:
            logger.warning("The lease %r will be asked for again: %s", self._name, error)
        else:
            self._may_hold = held
        if held:
            self._stop_at = asked_at + 0.8 * seconds
        return held

    async def lead(self, work: Work) -> None:
        """Work for as long as the lease is renewed in time."""
        loop = asyncio.get_running_loop()
        working = asyncio.ensure_future(work())
        try:
            while not working.done() and loop.time() < self._stop_at:
                third = self._lease.total_seconds() / 3
                await asyncio.wait([working], timeout=min(third, self._stop_at - loop.time()))
                # Late, because something blocked the loop: others may have it by now.
                if working.done() or loop.time() >= self._stop_at:
                    break
                if not await self.stands() and not self._may_hold:
                    break
        finally:
            self._stop_at = 0.0
            working.cancel()
            await asyncio.wait([working])
            if not working.cancelled() and (error := working.exception()) is not None:
                logger.error("%r broke down and will be begun again", self._name, exc_info=error)

    async def step_down(self) -> None:
        """Let others have it at once."""
        if self._may_hold:
            self._may_hold = False
            with suppress(DatabaseError, TimeoutError):
                async with asyncio.timeout(self._lease.total_seconds() / 3):
                    await self._store.give_up_lease(self._name, self._holder)
