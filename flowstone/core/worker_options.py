"""How a worker works."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from flowstone.core.contracts.queue_records import QueueLimits
from flowstone.core.contracts.store import Capacity, WorkerInfo


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """
    How a worker works.

    Attributes:
        queues: Slots by queue: how many materializations of it run at once here.
        run_id: Work on this run only, whatever the queue, with ``slots`` at once.
        drain: Stop when nothing is left that is due.
        lease: Others take over from this worker once it has not beaten for this long. Must be well
            below procrastinate's 30 s.
        poll_interval: How long a lost wake-up can delay work.
        shutdown_timeout: How long a stop waits for what runs before it hands it back.
        hang_limit: A body that holds the event loop for so long ends the process, so that others
            take over what it was at. None lets it.
        max_rescues: A materialization that so many deaths of a worker are held against fails with
            the next one. Below 2, so may what ran beside it.
        max_jobs: Stop after so many attempts, of assets and jobs together. None is any number.
        max_memory: Stop once the process has so many bytes of resident memory. None is any.
        child_processes: How many functions with ``executor="process"`` run at once, each in a
            process of its own; by default one for each processor.
        limits: What the application's code says about queues; written when the worker registers.
    """

    queues: Mapping[str, int] = field(default_factory=dict)
    run_id: int | None = None
    slots: int = 0
    drain: bool = False
    lease: timedelta = timedelta(seconds=15)
    poll_interval: timedelta = timedelta(seconds=5)
    shutdown_timeout: timedelta = timedelta(seconds=30)
    hang_limit: timedelta | None = None
    max_rescues: int = 5
    max_jobs: int | None = None
    max_memory: int | None = None
    child_processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    limits: Mapping[str, QueueLimits] = field(default_factory=dict)

    @property
    def by_queue(self) -> Mapping[str, int]:
        """Slots by queue; those of one run's worker are all under the empty name."""
        return self.queues if self.run_id is None else {"": self.slots}

    @property
    def topics(self) -> list[str]:
        """The wake-ups that mean something to claim."""
        if self.run_id is not None:
            return [f"run:{self.run_id}"]
        return [f"queue:{queue}" for queue in self.queues]

    def info(self, queues: Sequence[str]) -> WorkerInfo:
        """Return how a worker of this process introduces itself."""
        return WorkerInfo(socket.gethostname(), os.getpid(), queues, self.lease, self.limits)

    def capacity(self, offered: Mapping[str, int]) -> Capacity:
        """Return what a turn may claim, given the slots offered by queue (empty: of the run)."""
        if self.run_id is None:
            return Capacity(queues=offered)
        return Capacity(run_id=self.run_id, slots=offered.get("", 0))
