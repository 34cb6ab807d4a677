"""
What keeps how parallel assets stand: the coordinator's contract.

::

    create_execution ──▶ pending ──schedule_branches──▶ running ──complete_branch, fail_branch …
                                                          │
                      complete ◀──execute_join── ready_for_join │ failed

An execution belongs to a materialization and has its id. What a branch's end means is derived from
the branches (`ParallelStatus.standing`), so that no step can be lost between two of them, and a
join that its worker did not live to end is taken up by whoever comes next.

Source: seed 004 §2.4 (Parallel.Coordinator).
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import ClassVar, TypeVar

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.error_record import describe
from flowstone.core.errors import IllegalTransitionError
from flowstone.core.json_value import JsonText
from flowstone.plugins.parallel.execution import (
    BranchPlan,
    BranchResult,
    BranchStatus,
    ExecutionStatus,
    FailureMode,
    ParallelStatus,
)

T = TypeVar("T")


class ParallelCoordinator(Coordinator, ABC):
    """
    Keeps executions and their branches. Every verb may be repeated: what was said first stays.

    Verbs that are given an execution raise `ExecutionNotFoundError` when there is none.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    async def create_execution(
        self,
        materialization_id: int,
        branches: Mapping[str, BranchPlan],
        *,
        failure_mode: FailureMode = FailureMode.ALL_OR_NOTHING,
        timeout: timedelta | None = None,
    ) -> int:
        """
        Record an execution with its branches, and return its id.

        Args:
            branches: By name, in order.
            timeout: How long after their scheduling branches are waited for at most.
        """

    @abstractmethod
    async def schedule_branches(self, execution_id: int) -> ParallelStatus:
        """Say that the branches begin now: the time of their timeouts runs from here."""

    @abstractmethod
    async def settle_branches(
        self, execution_id: int, results: Mapping[str, BranchResult]
    ) -> ParallelStatus:
        """
        Record how branches have ended, all in one step.

        Raises:
            UnknownBranchError: The execution has no such branch; nothing was recorded.
        """

    @abstractmethod
    async def end_execution(self, execution_id: int, error: JsonText | None) -> ParallelStatus:
        """
        Record that the join is done, or what it or the execution failed with.

        Unlike other verbs, a later word counts: a join may be tried again.
        """

    @abstractmethod
    async def status(self, execution_id: int) -> ParallelStatus:
        """Return how the execution stands, with the map of its branches."""

    async def complete_branch(
        self, execution_id: int, branch: str, result: JsonText | None = None
    ) -> ExecutionStatus:
        """
        Record that a branch has a value.

        Returns:
            ``READY_FOR_JOIN`` when nothing more is waited for, or what else is so; ``PENDING``
            while there is.
        """
        settled = BranchResult(BranchStatus.SUCCESS, result)
        return _word(await self.settle_branches(execution_id, {branch: settled}))

    async def fail_branch(
        self, execution_id: int, branch: str, error: JsonText | None = None
    ) -> ExecutionStatus:
        """
        Record that a branch failed.

        Returns:
            ``FAILED`` when the execution failed by it, or ``PENDING`` while it goes on.
        """
        settled = BranchResult(BranchStatus.FAILED, error=error)
        return _word(await self.settle_branches(execution_id, {branch: settled}))

    async def skip_branch(
        self, execution_id: int, branch: str, reason: JsonText | None = None
    ) -> ExecutionStatus:
        """Record that a branch was skipped, or is not waited for; returns as `fail_branch`."""
        settled = BranchResult(BranchStatus.SKIPPED, error=reason)
        return _word(await self.settle_branches(execution_id, {branch: settled}))

    async def execute_join(
        self, execution_id: int, join: Callable[[ParallelStatus], Awaitable[T]]
    ) -> T:
        """
        Call the join with how the branches have ended, and record what came of it.

        Called again it calls the join again: whoever did so before may have died before he could
        tell. Who settles the materialization does so once.

        Raises:
            IllegalTransitionError: The join still waits for branches, or lacks one.
        """
        status = await self.status(execution_id)
        if status.standing is not ExecutionStatus.READY_FOR_JOIN:
            raise IllegalTransitionError(status.standing.value, "join")
        try:
            result = await join(status)
        except Exception as error:
            await self.end_execution(execution_id, json.dumps(describe(error)))
            raise
        await self.end_execution(execution_id, None)
        return result


def remark(branches: Mapping[str, str]) -> str:
    """Return what is said beside a parallel asset: how each of its branches stands."""
    return "branches: " + ", ".join(f"{name} {status}" for name, status in branches.items())


def _word(status: ParallelStatus) -> ExecutionStatus:
    """Return the standing in the words of the verbs: what still runs is pending."""
    standing = status.standing
    return ExecutionStatus.PENDING if standing is ExecutionStatus.RUNNING else standing
