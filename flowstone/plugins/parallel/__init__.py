"""Branches beside each other, joined by a function."""

from flowstone.plugins.parallel.branch import Branch
from flowstone.plugins.parallel.coordinator import ParallelCoordinator
from flowstone.plugins.parallel.definition import parallel
from flowstone.plugins.parallel.errors import (
    BranchesFailedError,
    BranchesTimeoutError,
    ExecutionNotFoundError,
    UnknownBranchError,
)
from flowstone.plugins.parallel.execution import (
    BranchPlan,
    BranchResult,
    BranchState,
    BranchStatus,
    ExecutionStatus,
    FailureMode,
    ParallelStatus,
)
from flowstone.plugins.parallel.outcome import Failed, Ok, Outcome, Skipped

__all__ = [
    "Branch",
    "BranchPlan",
    "BranchResult",
    "BranchState",
    "BranchStatus",
    "BranchesFailedError",
    "BranchesTimeoutError",
    "ExecutionNotFoundError",
    "ExecutionStatus",
    "Failed",
    "FailureMode",
    "Ok",
    "Outcome",
    "ParallelCoordinator",
    "ParallelStatus",
    "Skipped",
    "UnknownBranchError",
    "parallel",
]
