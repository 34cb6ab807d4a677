"""What goes over the border between a store and the rest about queues."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from flowstone.core.rate import Rate


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """
    What holds for a queue over all workers together; None is no limit.

    Attributes:
        max_running: How many may run at once.
        rate: How many may start within any period.
        max_running_per_key: How many of one key (`NewJob.limit_key`) may run at once.
        rate_per_key: How many of one key may start within any period.
    """

    max_running: int | None = None
    rate: Rate | None = None
    max_running_per_key: int | None = None
    rate_per_key: Rate | None = None


class LimitChanges(TypedDict, total=False):
    """Limits to set; None removes one, and what is not there stays."""

    max_running: int | None
    rate: Rate | None
    max_running_per_key: int | None
    rate_per_key: Rate | None


@dataclass(frozen=True, slots=True)
class QueueRecord:
    """
    A queue as it stands.

    Attributes:
        slots: How many run at once on each worker; None: as each was started.
        limits_from: Who said the limits: code, or somebody at run time; None: nobody.
        due: Jobs and materializations that could be claimed now.
        later: Those that are timed, retried, snoozed or wait.
        workers: How many workers were started for it.
    """

    name: str
    paused_at: datetime | None
    slots: int | None
    limits: QueueLimits
    limits_from: Literal["code", "hand"] | None
    due: int
    later: int
    running: int
    workers: int

    @property
    def is_paused(self) -> bool:
        """Whether nothing of it is begun."""
        return self.paused_at is not None
