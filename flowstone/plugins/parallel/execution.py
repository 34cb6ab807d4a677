"""How a parallel asset stands: its branches, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flowstone.core.json_value import JsonText


class FailureMode(StrEnum):
    """When a parallel asset is decided."""

    ALL_OR_NOTHING = "all_or_nothing"
    """Every branch is needed: the first that fails fails the asset, and stops the others."""
    PARTIAL = "partial"
    """Only required branches are needed, and one that fails lets the others end first."""


class BranchStatus(StrEnum):
    """Where a branch stands; the values are those of the column ``status``."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class ExecutionStatus(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"
    """Its branches are not scheduled."""
    RUNNING = "running"
    READY_FOR_JOIN = "ready_for_join"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """
    A branch as it was defined.

    Attributes:
        asset: The full name of its final asset.
        is_waited_for: Whether the join waits for it, or takes what is there.
        timeout: How long after the scheduling it may take; None is no limit of its own.
        materialization_id: The final asset's, of this run or a reused one; None when there is none.
    """

    asset: str
    required: bool = True
    is_waited_for: bool = True
    timeout: timedelta | None = None
    materialization_id: int | None = None


@dataclass(frozen=True, slots=True)
class BranchResult:
    """
    How a branch ended.

    Attributes:
        status: Anything but ``pending``.
        result: JSON of what is to be kept of its value, which itself stays with its
            materialization.
        error: JSON, as rows keep errors; also the reason of a skip.
    """

    status: BranchStatus
    result: JsonText | None = None
    error: JsonText | None = None


@dataclass(frozen=True, slots=True)
class BranchState:
    """
    A branch as it stands.

    Attributes:
        due_in: Until it is late; negative when it is. None: never, or it has ended.
    """

    plan: BranchPlan
    status: BranchStatus
    result: JsonText | None
    error: JsonText | None
    due_in: timedelta | None

    @property
    def has_ended(self) -> bool:
        """Whether it is decided."""
        return self.status is not BranchStatus.PENDING


@dataclass(frozen=True, slots=True)
class ParallelStatus:
    """
    An execution as it stands.

    Attributes:
        ended: ``complete`` or ``failed`` once it was ended; None until then.
        branches: By name, in the order in which they were defined.
        error: JSON of what it failed with.
    """

    execution_id: int
    failure_mode: FailureMode
    is_scheduled: bool
    ended: ExecutionStatus | None
    branches: Mapping[str, BranchState]
    error: JsonText | None

    @property
    def status(self) -> ExecutionStatus:
        """Where it stands."""
        if self.ended is not None:
            return self.ended
        return self.standing if self.is_scheduled else ExecutionStatus.PENDING

    @property
    def standing(self) -> ExecutionStatus:
        """What follows from the branches alone: ``running``, ``ready_for_join`` or ``failed``."""
        if self.failure_mode is FailureMode.ALL_OR_NOTHING and self.lost:
            return ExecutionStatus.FAILED
        if self.awaited:
            return ExecutionStatus.RUNNING
        return ExecutionStatus.FAILED if self.lost else ExecutionStatus.READY_FOR_JOIN

    @property
    def lost(self) -> Mapping[str, BranchState]:
        """The required branches that have ended without a value."""
        return {
            name: it
            for name, it in self.branches.items()
            if it.plan.required and it.status in (BranchStatus.FAILED, BranchStatus.SKIPPED)
        }

    @property
    def awaited(self) -> Mapping[str, BranchState]:
        """The branches that the join still waits for."""
        return {
            name: it
            for name, it in self.branches.items()
            if it.plan.is_waited_for and not it.has_ended
        }

    @property
    def completed(self) -> int:
        """How many branches have succeeded or were skipped."""
        return sum(
            it.status in (BranchStatus.SUCCESS, BranchStatus.SKIPPED)
            for it in self.branches.values()
        )

    @property
    def failed(self) -> int:
        """How many branches have failed."""
        return sum(it.status is BranchStatus.FAILED for it in self.branches.values())
