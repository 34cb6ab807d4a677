"""
The part of a store that queues are managed by at run time.

A queue that nobody has said anything about has no settings and no limits. Settings hold for all
workers, and for ``app.run`` too: whoever claims.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Unpack

from flowstone.core.contracts.queue_records import LimitChanges, QueueLimits, QueueRecord

__all__ = ["LimitChanges", "QueueLimits", "QueueRecord", "Queues"]


class Queues(ABC):
    """
    Queues of one store.

    Every method is one atomic step. What changes here is published under the topic ``queues``.
    """

    @abstractmethod
    async def pause_queue(self, queue: str) -> None:
        """Let nothing of it be claimed; what runs goes on. Repeating it is harmless."""

    @abstractmethod
    async def resume_queue(self, queue: str) -> None:
        """End the pause; nothing happens where there is none."""

    @abstractmethod
    async def limit_queue(self, queue: str, **changes: Unpack[LimitChanges]) -> None:
        """
        Set limits by hand; those that code says do not count from then on.

        They hold exactly over all workers: never more than ``max_running`` are running, a worker's
        death gives back what it held, and never more than ``rate`` are started in any period; the
        same for each key. Keys are served in turn: one without room is passed over, and however
        much of it waits, others do not wait for it.
        """

    @abstractmethod
    async def reset_queue_limits(self, queue: str) -> None:
        """Remove the limits, and let code say them again."""

    @abstractmethod
    async def declare_queues(self, limits: Mapping[str, QueueLimits]) -> None:
        """Write what code says, where nobody has said limits by hand."""

    @abstractmethod
    async def scale_queue(self, queue: str, slots: int | None, *, worker: int | None) -> bool:
        """
        Say how many of it run at once on one worker while it lives, or on each that serves it.

        Zero is none at all, None is as each was started. False: there is no such worker. Workers
        read it with `slots`.
        """

    @abstractmethod
    async def slots(self, worker_id: int) -> Mapping[str, int]:
        """Return what `scale_queue` has said for this worker, by queue."""

    @abstractmethod
    async def queues(self, queue: str | None = None) -> Sequence[QueueRecord]:
        """
        Return the queues that have settings, jobs or workers, by name.

        Args:
            queue: Only this one, which need not have any of it.
        """

    @abstractmethod
    async def is_drained(self, queue: str) -> bool:
        """Return whether nothing of it runs, and nothing is due unless it is paused."""
