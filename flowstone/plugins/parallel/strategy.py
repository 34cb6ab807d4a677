"""
A parallel asset: it starts its branches, waits for them, and joins what became of them.

Nothing here remembers anything between two attempts. Whatever wakes it, and however often, it looks
how the branches stand, writes that down, stops what is not needed any more, and then waits, joins
or fails. So a worker that dies between any two of these steps costs a repetition and nothing else.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from flowstone.core.asset import Asset
from flowstone.core.contracts.awaiting import Awaited
from flowstone.core.contracts.strategy import Execution, Strategy
from flowstone.core.defaults.function_strategy import outcome_of
from flowstone.core.error_record import describe, read_record
from flowstone.core.errors import Problem
from flowstone.core.json_value import JsonText
from flowstone.core.outcome import Failed, Outcome, Skipped, Until, Waiting, Wake
from flowstone.core.parameters import Argument
from flowstone.core.status import Status
from flowstone.plugins.parallel import outcome as outcomes
from flowstone.plugins.parallel.branch import BranchValue
from flowstone.plugins.parallel.coordinator import ParallelCoordinator
from flowstone.plugins.parallel.errors import (
    BranchesFailedError,
    BranchesTimeoutError,
    ExecutionNotFoundError,
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
from flowstone.plugins.parallel.telling import Teller

WAITS_ON = "branches"

TIMEOUT = "timeout"
"""The code of a branch that took too long."""


class Parallel(Strategy):
    """
    Runs the branches beside each other, and the function once they have ended.

    Args:
        failure_mode: What the failure of a branch means.
        timeout: How long all of them may take; None is no limit.
    """

    plugin: ClassVar[str | None] = "parallel"
    awaits_edges: ClassVar[bool] = True

    def __init__(self, failure_mode: FailureMode, timeout: timedelta | None) -> None:
        self.failure_mode = failure_mode
        self.timeout = timeout

    @property
    def fingerprint(self) -> str:
        """The failure mode; how long it waits does not make another value."""
        return f"parallel {self.failure_mode}"

    def problems(
        self,
        asset: Asset[..., object],
        assets: Mapping[str, Asset[..., object]],
        dependents: Sequence[Asset[..., object]],
    ) -> Iterable[Problem]:
        """Say what is wrong with its branches."""
        where, name = str(asset.source), asset.full_name
        branches = dict(_branches(asset))
        if not any(it.wait for it in branches.values()):
            which = "no branch that it waits for" if branches else "no branches"
            yield Problem(
                f"it is parallel and has {which}. Give it one",
                where=where,
                asset=name,
                fix="part: Part = Branch(part)",
            )
        for parameter, branch in branches.items():
            if not branch.required and self.failure_mode is FailureMode.ALL_OR_NOTHING:
                yield Problem(
                    f"branch '{parameter}' is not required, but all or nothing needs every one. "
                    "Write",
                    where=where,
                    asset=name,
                    fix='@parallel(failure_mode="partial")',
                )

    async def start(self, execution: Execution) -> Outcome:
        """Record the branches; the wait that follows starts them."""
        coordinator = execution.coordinator(ParallelCoordinator)
        found = await execution.awaited()
        execution_id = await coordinator.create_execution(
            execution.materialization_id,
            _plans(execution.asset, found),
            failure_mode=self.failure_mode,
            timeout=self.timeout,
        )
        status = await coordinator.schedule_branches(execution_id)
        Teller(execution).began(status)
        return await self._proceed(execution, status, found)

    async def resume(self, execution: Execution, wake: Wake) -> Outcome:
        """See what has ended, and what is late."""
        coordinator = execution.coordinator(ParallelCoordinator)
        try:
            status = await coordinator.status(execution.materialization_id)
        except ExecutionNotFoundError:
            # The asset was another kind's when it began to wait.
            return await self.start(execution)
        return await self._proceed(execution, status, await execution.awaited())

    async def _proceed(
        self, execution: Execution, status: ParallelStatus, awaited: Sequence[Awaited]
    ) -> Outcome:
        found = {it.id: it for it in awaited}
        status = await self._settle(execution, status, dict(_ended(status, found)))
        standing = status.standing
        if standing is not ExecutionStatus.RUNNING:
            why = "not waited for" if standing is ExecutionStatus.READY_FOR_JOIN else "given up"
            rest = {name: _skip(why) for name, it in status.branches.items() if not it.has_ended}
            status = await self._settle(execution, status, rest)
        await self._stop(execution, status, found)
        if standing is ExecutionStatus.RUNNING:
            return self._wait(status)
        if standing is ExecutionStatus.FAILED:
            return await self._lose(execution, status)
        return await self._join(execution, status)

    async def _settle(
        self, execution: Execution, status: ParallelStatus, results: Mapping[str, BranchResult]
    ) -> ParallelStatus:
        if not results:
            return status
        coordinator = execution.coordinator(ParallelCoordinator)
        settled = await coordinator.settle_branches(status.execution_id, results)
        Teller(execution).settled(settled, results)
        return settled

    async def _stop(
        self, execution: Execution, status: ParallelStatus, found: Mapping[int, Awaited]
    ) -> None:
        """Stop what is decided, and has not ended."""
        of_no_use = [
            it.plan.materialization_id
            for it in status.branches.values()
            if it.has_ended
            and it.plan.materialization_id is not None
            and not found[it.plan.materialization_id].status.is_terminal
        ]
        if of_no_use:
            await execution.give_up(of_no_use, f"{execution.asset.full_name} needs it no longer")

    def _wait(self, status: ParallelStatus) -> Waiting:
        awaited = status.awaited
        ids = {name: it.plan.materialization_id or 0 for name, it in awaited.items()}
        needed = self.failure_mode is FailureMode.ALL_OR_NOTHING
        # Also those that are not waited for have their timeouts.
        limits = [it.due_in for it in awaited.values() if it.due_in is not None]
        return Waiting(
            WAITS_ON,
            timeout=max(min(limits), timedelta(0)) if limits else None,
            external=False,
            whom=tuple(awaited),
            until=Until(tuple(ids.values()), tuple(ids.values()) if needed else ()),
        )

    async def _lose(self, execution: Execution, status: ParallelStatus) -> Outcome:
        failed = {n: it for n, it in status.lost.items() if it.status is BranchStatus.FAILED}
        if not failed:
            name, branch = next(iter(status.lost.items()))
            reason = _message(branch.error)
            return Skipped(f"branch '{name}' was skipped{': ' if reason else ''}{reason}")
        said = "; ".join(f"{name}: {_message(it.error)}" for name, it in failed.items())
        is_late = any(_code(it.error) == TIMEOUT for it in failed.values())
        kind = BranchesTimeoutError if is_late else BranchesFailedError
        error = kind(
            f"branches failed: {said}",
            failed,
            asset=execution.asset.full_name,
            partition=execution.partition,
            run_id=execution.run_id,
        )
        record = json.dumps(describe(error, with_traceback=False))
        coordinator = execution.coordinator(ParallelCoordinator)
        await coordinator.end_execution(status.execution_id, record)
        Teller(execution).failed(error)
        return Failed(error)

    async def _join(self, execution: Execution, status: ParallelStatus) -> Outcome:
        began = time.perf_counter()

        async def join(ended: ParallelStatus) -> object:
            lost = {name: _outcome(it) for name, it in ended.branches.items() if not _is_ok(it)}
            return await execution.call(**lost)

        try:
            coordinator = execution.coordinator(ParallelCoordinator)
            result = await coordinator.execute_join(status.execution_id, join)
        except Exception as error:
            Teller(execution).failed(error)
            raise
        Teller(execution).joined((time.perf_counter() - began) * 1000)
        return outcome_of(result)


def _branches(asset: Asset[..., object]) -> Iterator[tuple[str, BranchValue]]:
    for argument in asset.signature.arguments:
        if isinstance(argument.source, BranchValue):
            yield argument.parameter, argument.source


def _plans(asset: Asset[..., object], found: Iterable[Awaited]) -> dict[str, BranchPlan]:
    ids = {it.key.asset: it.id for it in found}
    return {
        argument.parameter: _plan(argument, ids)
        for argument in asset.signature.arguments
        if isinstance(argument.source, BranchValue)
    }


def _plan(argument: Argument, ids: Mapping[str, int]) -> BranchPlan:
    (final,) = argument.inputs
    branch = argument.source
    assert isinstance(branch, BranchValue), "the caller has looked"
    id_ = ids.get(final.upstream)
    return BranchPlan(final.upstream, branch.required, branch.wait, branch.timeout, id_)


def _ended(
    status: ParallelStatus, found: Mapping[int, Awaited]
) -> Iterator[tuple[str, BranchResult]]:
    """Yield how branches have ended that were still pending."""
    for name, branch in status.branches.items():
        if branch.has_ended:
            continue
        final = found.get(branch.plan.materialization_id or 0)
        result = _result(name, branch, final)
        if result is not None:
            yield name, result


def _result(name: str, branch: BranchState, final: Awaited | None) -> BranchResult | None:
    match final and final.status:
        case None:
            missing = f"{branch.plan.asset} has no value, and is no part of the run"
            return _failure("dependency_not_ready", missing)
        case Status.SUCCEEDED:
            return BranchResult(BranchStatus.SUCCESS)
        case Status.SKIPPED:
            return BranchResult(BranchStatus.SKIPPED, error=final.error if final else None)
        case Status.FAILED | Status.UPSTREAM_FAILED | Status.CANCELLED as ended:
            if final is None or final.error is None:
                return _failure(ended.value, f"it was {ended.value.replace('_', ' ')}")
            return BranchResult(BranchStatus.FAILED, error=final.error)
        case _ if branch.due_in is not None and branch.due_in <= timedelta(0):
            return _failure(TIMEOUT, f"branch '{name}' took too long")
        case _:
            return None


def _failure(code: str, message: str) -> BranchResult:
    error = json.dumps({"code": code, "message": message})
    return BranchResult(BranchStatus.FAILED, error=error)


def _skip(reason: str) -> BranchResult:
    return BranchResult(BranchStatus.SKIPPED, error=json.dumps({"message": reason}))


def _is_ok(branch: BranchState) -> bool:
    return branch.status is BranchStatus.SUCCESS


def _outcome(branch: BranchState) -> outcomes.Failed | outcomes.Skipped:
    if branch.status is BranchStatus.SKIPPED:
        return outcomes.Skipped(_message(branch.error))
    return outcomes.Failed(_message(branch.error), _code(branch.error))


def _message(error: JsonText | None) -> str:
    said = str(read_record(error).get("message", ""))
    return said.removeprefix("Asset execution failed: ")


def _code(error: JsonText | None) -> str:
    return str(read_record(error).get("code", ""))
