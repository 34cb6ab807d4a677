"""
Looking at a run again and again, and seeing what has changed.

::

    look ──▶ ended? ──yes──▶ done
      ▲        │ no
      └─ wait ─┘   for a wake-up; else a little, and longer while nothing happens

The rows are the source, whoever does the work. A worker announces that a run has ended, and nothing
before that: following a run costs the reader, never the work. So between wake-ups the rows are read
now and then, for a tenth of the time at most. One look that took long by chance, as on a connection
that had to be opened first, puts nothing off: how long a look takes is said by two in a row.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from types import MappingProxyType

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.store import MaterializationRecord, Progress, Store
from flowstone.core.errors import DatabaseError

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""How long to wait for a wake-up: while the run moves, and after a long time without a change."""

LEAST_SECONDS = 0.1
"""Between two looks, however often one is woken."""

READING_SHARE = 0.1
"""The part of the time that is spent on reading rows, at most."""


class Following:
    """One who follows one run; holds nothing but what he has seen."""

    def __init__(self, store: Store, run_id: int) -> None:
        self._store = store
        self._run_id = run_id
        self._seen: dict[int, MaterializationRecord] = {}
        self._mark: str | None = None

    @property
    def seen(self) -> Mapping[int, MaterializationRecord]:
        """The run's materializations by id, as they were at the last look."""
        return MappingProxyType(self._seen)

    async def look(self) -> Progress:
        """
        Return what has changed since the last look, and nothing else.

        Raises:
            RunNotFoundError: There is no such run, or it was pruned.
        """
        found = await self._store.progress(self._run_id, since=self._mark)
        self._mark = found.mark
        changed = [it for it in found.changed if self._seen.get(it.id) != it]
        self._seen.update((it.id, it) for it in changed)
        return replace(found, changed=changed)

    async def looks(self, *, until: str | None = None) -> AsyncGenerator[Progress, None]:
        """
        Look until the run has ended; a store that does not answer is waited for.

        Args:
            until: A topic whose publication ends it too.
        """
        await self._store.listen()
        topics = {f"run:{self._run_id}", f"moved:{self._run_id}"}
        backoff, pause, before = Backoff(), FIRST_PAUSE_SECONDS, 0.0
        with self._store.wakeups.watch([*topics, *([until] if until else [])]) as watch:
            while until not in watch.take():
                began = time.monotonic()
                try:
                    found = await self.look()
                except DatabaseError as error:
                    if not error.retryable:
                        raise
                    logger.warning("Run %s cannot be followed (%s)", self._run_id, error)
                    await backoff.wait()
                    continue
                took = time.monotonic() - began
                backoff.reset()
                yield found
                if found.status.is_terminal:
                    return
                longer = min(LONGEST_PAUSE_SECONDS, pause * 1.5)
                pause = FIRST_PAUSE_SECONDS if found.changed else longer
                least = max(LEAST_SECONDS, min(took, before) / READING_SHARE)
                before = took
                heard = await watch.wait(max(pause, least))
                if until in heard:
                    return
                await asyncio.sleep(began + least - time.monotonic())
