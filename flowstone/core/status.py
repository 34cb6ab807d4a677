"""
The state machine of a materialization, the same for every kind of asset and in every store.

::

    pending ──deps met──▶ ready ──claimed──▶ running ──┬─▶ succeeded
                            ▲                          ├─▶ failed ─(retry left)─▶ ready
                            └──woken── waiting ◀───────┤
                                                       ├─▶ skipped
                                                       └─▶ cancelled
    pending ─▶ upstream_failed | skipped | cancelled

Whatever is not in `TRANSITIONS` is illegal: a store leaves the row as it is and reports the
settlement as refused. A job that has ended and that somebody retries (`JobQueue.change_jobs`)
begins anew at ``ready``; nothing that a worker reports leads there. Source: docs/concepts.md.
"""

from enum import IntEnum, StrEnum
from types import MappingProxyType

from flowstone.core.errors import IllegalTransitionError


class Status(StrEnum):
    """Where a materialization stands; the values are those of the column ``status``."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows by itself; only a job may be given another life, by hand."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        Status.SUCCEEDED,
        Status.FAILED,
        Status.SKIPPED,
        Status.CANCELLED,
        Status.UPSTREAM_FAILED,
    }
)


class RunStatus(StrEnum):
    """Where a run stands. It ends when its last materialization does."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self is not RunStatus.RUNNING


class Event(IntEnum):
    """
    What can happen to a materialization.

    The numbers of the settling events (1 to 8) are the wire format between a worker and the SQL
    function that settles; they never change their meaning.
    """

    SUCCEEDED = 1
    FAILED = 2
    SKIPPED = 3
    CANCELLED = 4
    RETRIED = 5
    SNOOZED = 6
    WAITED = 7
    HANDED_BACK = 8

    DEPS_MET = 20
    CLAIMED = 21
    WOKEN = 22
    RESCUED = 23
    UPSTREAM_FAILED = 24
    UPSTREAM_SKIPPED = 25

    @property
    def settles(self) -> bool:
        """Whether a worker reports this event about what it had claimed."""
        return self <= Event.HANDED_BACK


TRANSITIONS: MappingProxyType[tuple[Status, Event], Status] = MappingProxyType(
    {
        (Status.PENDING, Event.DEPS_MET): Status.READY,
        (Status.PENDING, Event.UPSTREAM_FAILED): Status.UPSTREAM_FAILED,
        (Status.PENDING, Event.UPSTREAM_SKIPPED): Status.SKIPPED,
        (Status.PENDING, Event.CANCELLED): Status.CANCELLED,
        (Status.READY, Event.CLAIMED): Status.RUNNING,
        (Status.READY, Event.CANCELLED): Status.CANCELLED,
        (Status.RUNNING, Event.SUCCEEDED): Status.SUCCEEDED,
        (Status.RUNNING, Event.FAILED): Status.FAILED,
        (Status.RUNNING, Event.SKIPPED): Status.SKIPPED,
        (Status.RUNNING, Event.CANCELLED): Status.CANCELLED,
        (Status.RUNNING, Event.RETRIED): Status.READY,
        (Status.RUNNING, Event.SNOOZED): Status.READY,
        (Status.RUNNING, Event.WAITED): Status.WAITING,
        (Status.RUNNING, Event.HANDED_BACK): Status.READY,
        (Status.RUNNING, Event.RESCUED): Status.READY,
        (Status.WAITING, Event.WOKEN): Status.READY,
        (Status.WAITING, Event.CLAIMED): Status.RUNNING,
        (Status.WAITING, Event.CANCELLED): Status.CANCELLED,
    }
)
"""Every legal step. ``waiting`` is claimed directly when its deadline passes without a wake-up."""


def advance(status: Status, event: Event) -> Status:
    """
    Return the status that follows.

    Raises:
        IllegalTransitionError: The event cannot happen in this status.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransitionError(status.value, event.name.lower()) from None
