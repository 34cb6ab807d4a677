"""What every coordinator of parallel assets has to do, as tests."""

import json
from datetime import timedelta

import pytest

from flowstone.core.errors import IllegalTransitionError
from flowstone.plugins.parallel import (
    BranchPlan,
    BranchResult,
    BranchStatus,
    ExecutionNotFoundError,
    ExecutionStatus,
    FailureMode,
    ParallelCoordinator,
    ParallelStatus,
    UnknownBranchError,
)

BOTH = {"a": BranchPlan("p.a"), "b": BranchPlan("p.b")}
ONE_OPTIONAL = {
    "a": BranchPlan("p.a"),
    "b": BranchPlan("p.b", required=False),
    "c": BranchPlan("p.c", required=False, is_waited_for=False),
}
BOOM = json.dumps({"message": "boom"})


class ParallelCoordinatorContract:
    """
    Subclass it, and give it the coordinator.

    ``execution`` is a fixture, too: an id that the tests may create an execution under, of a
    materialization that is there.
    """

    @pytest.fixture
    async def coordinator(self) -> ParallelCoordinator:
        """Give an open coordinator."""
        raise NotImplementedError(f"{type(self).__name__} has to define `coordinator`")

    @pytest.fixture
    async def execution(self) -> int:
        """Give the id of a materialization."""
        raise NotImplementedError(f"{type(self).__name__} has to define `execution`")

    async def advance(self, delta: timedelta) -> None:
        """Let time pass."""
        raise NotImplementedError(f"{type(self).__name__} has to define `advance`")

    async def test_a_new_execution_waits_to_be_scheduled(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        id_ = await coordinator.create_execution(execution, BOTH)

        status = await coordinator.status(id_)

        assert id_ == execution
        assert status.status is ExecutionStatus.PENDING
        assert {name: it.status for name, it in status.branches.items()} == {
            "a": BranchStatus.PENDING,
            "b": BranchStatus.PENDING,
        }
        assert [it.plan for it in status.branches.values()] == [*BOTH.values()]

    async def test_a_second_creation_changes_nothing(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await coordinator.create_execution(execution, BOTH)
        await coordinator.schedule_branches(execution)
        await coordinator.complete_branch(execution, "a")
        before = await coordinator.status(execution)

        again = await coordinator.create_execution(
            execution, ONE_OPTIONAL, failure_mode=FailureMode.PARTIAL
        )

        assert again == execution
        assert await coordinator.status(execution) == before

    async def test_branches_are_kept_in_their_order_with_all_that_was_said(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        plans = {
            name: BranchPlan(f"p.{name}", required=False, timeout=timedelta(minutes=place))
            for place, name in enumerate("zyxa")
        }
        plans["b"] = BranchPlan("p.b", materialization_id=execution)
        await coordinator.create_execution(execution, plans, failure_mode=FailureMode.PARTIAL)

        status = await coordinator.status(execution)

        assert list(status.branches) == ["z", "y", "x", "a", "b"]
        assert {name: it.plan for name, it in status.branches.items()} == plans
        assert status.failure_mode is FailureMode.PARTIAL

    async def test_scheduled_it_runs_and_twice_is_once(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        plans = {"a": BranchPlan("p.a", timeout=timedelta(hours=1))}
        await coordinator.create_execution(execution, plans)

        first = await coordinator.schedule_branches(execution)
        await self.advance(timedelta(minutes=30))
        second = await coordinator.schedule_branches(execution)

        assert (first.status, second.status) == (ExecutionStatus.RUNNING,) * 2
        assert _minutes(first, "a") == 60
        assert _minutes(second, "a") == 30

    async def test_the_last_completion_makes_it_ready_for_the_join(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution)

        answers = [await coordinator.complete_branch(execution, name) for name in "aab"]

        assert answers == [
            ExecutionStatus.PENDING,
            ExecutionStatus.PENDING,
            ExecutionStatus.READY_FOR_JOIN,
        ]
        assert (await coordinator.status(execution)).status is ExecutionStatus.READY_FOR_JOIN

    async def test_what_is_kept_of_a_result_comes_back(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution)

        await coordinator.complete_branch(execution, "a", '{"b": 1.0, "a": 2}')

        branch = (await coordinator.status(execution)).branches["a"]
        assert (branch.status, branch.result) == (BranchStatus.SUCCESS, '{"b": 1.0, "a": 2}')

    async def test_all_or_nothing_fails_by_the_first_failure(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution)

        answer = await coordinator.fail_branch(execution, "a", BOOM)

        status = await coordinator.status(execution)
        assert (answer, status.status) == (ExecutionStatus.FAILED,) * 2
        assert status.branches["a"].error == BOOM
        assert status.branches["b"].status is BranchStatus.PENDING

    async def test_partial_goes_on_without_an_optional_branch(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution, ONE_OPTIONAL)

        answers = [
            await coordinator.fail_branch(execution, "b", BOOM),
            await coordinator.complete_branch(execution, "a"),
        ]

        assert answers == [ExecutionStatus.PENDING, ExecutionStatus.READY_FOR_JOIN]
        assert (await coordinator.status(execution)).awaited == {}

    async def test_partial_fails_by_a_required_branch_once_the_others_have_ended(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution, ONE_OPTIONAL)

        answers = [
            await coordinator.fail_branch(execution, "a", BOOM),
            await coordinator.skip_branch(execution, "b"),
        ]

        assert answers == [ExecutionStatus.PENDING, ExecutionStatus.FAILED]

    async def test_a_branch_ends_once(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution, ONE_OPTIONAL)
        await coordinator.complete_branch(execution, "b", "1")
        before = await coordinator.status(execution)

        await coordinator.fail_branch(execution, "b", BOOM)
        await coordinator.skip_branch(execution, "b", BOOM)
        await coordinator.complete_branch(execution, "b", "2")

        assert await coordinator.status(execution) == before

    async def test_several_end_in_one_step(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution, ONE_OPTIONAL)

        status = await coordinator.settle_branches(
            execution,
            {
                "a": BranchResult(BranchStatus.SUCCESS),
                "b": BranchResult(BranchStatus.FAILED, error=BOOM),
                "c": BranchResult(BranchStatus.SKIPPED),
            },
        )

        assert status == await coordinator.status(execution)
        assert status.status is ExecutionStatus.READY_FOR_JOIN
        assert (status.completed, status.failed) == (2, 1)

    async def test_an_unknown_branch_is_refused_by_name_and_nothing_recorded(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution)
        before = await coordinator.status(execution)
        results = dict.fromkeys(["a", "bb"], BranchResult(BranchStatus.SUCCESS))

        with pytest.raises(UnknownBranchError, match="Did you mean 'b'") as caught:
            await coordinator.settle_branches(execution, results)

        assert caught.value.branch == "bb"
        assert await coordinator.status(execution) == before

    async def test_the_join_is_called_with_the_branches_and_completes(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._ready(coordinator, execution)

        async def join(status: ParallelStatus) -> list[str]:
            return list(status.branches)

        assert await coordinator.execute_join(execution, join) == ["a", "b"]
        assert (await coordinator.status(execution)).status is ExecutionStatus.COMPLETE

    async def test_whoever_comes_after_one_who_died_in_the_join_joins(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._ready(coordinator, execution)
        calls: list[int] = []

        async def join(status: ParallelStatus) -> int:
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt  # nothing is told of the end of a process
            return len(calls)

        with pytest.raises(KeyboardInterrupt):
            await coordinator.execute_join(execution, join)

        assert (await coordinator.status(execution)).status is ExecutionStatus.READY_FOR_JOIN
        assert await coordinator.execute_join(execution, join) == 2
        assert await coordinator.execute_join(execution, join) == 3

    async def test_a_join_that_raises_fails_it_and_may_be_tried_again(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._ready(coordinator, execution)

        async def wrong(status: ParallelStatus) -> int:
            raise ValueError("cannot join")

        async def right(status: ParallelStatus) -> int:
            return 1

        with pytest.raises(ValueError, match="cannot join"):
            await coordinator.execute_join(execution, wrong)
        failed = await coordinator.status(execution)
        assert await coordinator.execute_join(execution, right) == 1
        complete = await coordinator.status(execution)

        assert (failed.status, complete.status) == (
            ExecutionStatus.FAILED,
            ExecutionStatus.COMPLETE,
        )
        assert "cannot join" in str(failed.error)
        assert complete.error is None

    @pytest.mark.parametrize("is_lost", [False, True], ids=["waiting", "failed"])
    async def test_no_join_without_the_branches(
        self, coordinator: ParallelCoordinator, execution: int, is_lost: bool
    ) -> None:
        await self._scheduled(coordinator, execution)
        if is_lost:
            await coordinator.fail_branch(execution, "a", BOOM)

        async def join(status: ParallelStatus) -> None:
            raise AssertionError("never called")

        with pytest.raises(IllegalTransitionError):
            await coordinator.execute_join(execution, join)

    async def test_the_timeouts_run_from_the_scheduling(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        plans = {
            "own": BranchPlan("p.own", timeout=timedelta(minutes=10)),
            "longer": BranchPlan("p.longer", timeout=timedelta(days=1)),
            "all": BranchPlan("p.all"),
            "done": BranchPlan("p.done"),
        }
        await coordinator.create_execution(execution, plans, timeout=timedelta(minutes=30))
        unscheduled = await coordinator.status(execution)
        await coordinator.schedule_branches(execution)
        await coordinator.complete_branch(execution, "done")
        await self.advance(timedelta(minutes=20))

        status = await coordinator.status(execution)

        assert all(it.due_in is None for it in unscheduled.branches.values())
        assert [_minutes(status, name) for name in plans] == [-10, 10, 10, None]

    async def test_without_timeouts_nothing_is_late(
        self, coordinator: ParallelCoordinator, execution: int
    ) -> None:
        await self._scheduled(coordinator, execution)
        await self.advance(timedelta(days=400))

        status = await coordinator.status(execution)

        assert [it.due_in for it in status.branches.values()] == [None, None]

    async def test_what_does_not_exist_is_an_error(self, coordinator: ParallelCoordinator) -> None:
        unknown = 999_999_999
        for verb in (
            coordinator.status(unknown),
            coordinator.schedule_branches(unknown),
            coordinator.complete_branch(unknown, "a"),
            coordinator.fail_branch(unknown, "a"),
            coordinator.end_execution(unknown, None),
        ):
            with pytest.raises(ExecutionNotFoundError) as caught:
                await verb
            assert caught.value.execution_id == unknown

    async def _scheduled(
        self,
        coordinator: ParallelCoordinator,
        execution: int,
        branches: dict[str, BranchPlan] = BOTH,
    ) -> None:
        mode = FailureMode.ALL_OR_NOTHING if branches is BOTH else FailureMode.PARTIAL
        await coordinator.create_execution(execution, branches, failure_mode=mode)
        await coordinator.schedule_branches(execution)

    async def _ready(self, coordinator: ParallelCoordinator, execution: int) -> None:
        await self._scheduled(coordinator, execution)
        for name in "ab":
            await coordinator.complete_branch(execution, name)


def _minutes(status: ParallelStatus, branch: str) -> float | None:
    due_in = status.branches[branch].due_in
    return None if due_in is None else round(due_in / timedelta(minutes=1), 1)
