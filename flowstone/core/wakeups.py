"""
Who is waiting for what in this process: topics, and events that are set when one is published.

A store publishes ``queue:<name>`` when a job may be claimable, ``run:<id>`` when a run has ended or
was woken, ``job:<id>`` when a job has ended that somebody waits for, ``schedules`` and ``queues``
when something was said about one, ``limit:<name>`` when a slot was given back, ``abort`` when
somebody asked for a running job to stop, and, where that costs nothing, ``moved:<id>`` when
anything of a run has changed. An application that closes publishes ``closing:<its own>``, and a
plugin its own topics: on Postgres by the notification ``{"topics": ["tally"]}``. A published
topic says "look again", never what is there: spurious and merged wake-ups are normal, and
everybody who waits also polls now and then, because a notification can be lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

EVERYTHING = "*"
"""Wakes everybody: published after a lost connection, when anything may have been missed."""


class Watch:
    """One waiter's mailbox: the topics published since it last looked."""

    def __init__(self) -> None:
        self._published = asyncio.Event()
        self._topics: set[str] = set()

    def publish(self, topic: str) -> None:
        """Leave the topic in the mailbox and wake its owner."""
        self._topics.add(topic)
        self._published.set()

    def take(self) -> set[str]:
        """Return what was published since the last call, and forget it."""
        topics, self._topics = self._topics, set()
        self._published.clear()
        return topics

    async def wait(self, timeout: float | None) -> set[str]:
        """Return the topics published since the last call; empty after ``timeout`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._published.wait()
        return self.take()


class Wakeups:
    """The topics of one store; not safe to publish to from another thread."""

    def __init__(self) -> None:
        self._watches: defaultdict[str, set[Watch]] = defaultdict(set)

    @contextmanager
    def watch(self, topics: Iterable[str]) -> Iterator[Watch]:
        """Collect the topics' wake-ups for as long as the block runs."""
        watch = Watch()
        wanted = {*topics, EVERYTHING}
        for topic in wanted:
            self._watches[topic].add(watch)
        try:
            yield watch
        finally:
            for topic in wanted:
                self._watches[topic].discard(watch)
                if not self._watches[topic]:
                    del self._watches[topic]

    def publish(self, topic: str) -> None:
        """Wake everybody who watches the topic."""
        for watch in self._watches.get(topic, ()):
            watch.publish(topic)

    def publish_all(self) -> None:
        """Wake everybody, whatever they watch."""
        self.publish(EVERYTHING)

    @property
    def topics(self) -> frozenset[str]:
        """What somebody watches at this moment."""
        return frozenset(self._watches)


class Changes:
    """Tells everybody who waits at this moment that something has changed; nothing is kept."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def publish(self) -> None:
        """Wake all who wait."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return at the next `publish`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
