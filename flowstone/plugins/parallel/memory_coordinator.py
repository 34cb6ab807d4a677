"""Executions of an application without a database."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.store import Store
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.clock import Clock, SystemClock
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.json_value import JsonText
from flowstone.plugins.parallel.coordinator import ParallelCoordinator, remark
from flowstone.plugins.parallel.errors import ExecutionNotFoundError, UnknownBranchError
from flowstone.plugins.parallel.execution import (
    BranchPlan,
    BranchResult,
    BranchState,
    BranchStatus,
    ExecutionStatus,
    FailureMode,
    ParallelStatus,
)


@dataclass(slots=True)
class ExecutionRow:
    """An execution and its branches, as rows of tables would have them."""

    failure_mode: FailureMode
    timeout: timedelta | None
    branches: Mapping[str, BranchPlan]
    results: dict[str, BranchResult] = field(default_factory=dict)
    scheduled_at: datetime | None = None
    ended: ExecutionStatus | None = None
    error: JsonText | None = None


class ExecutionRows(AttachedRows[ExecutionRow]):
    """By the materialization that they belong to."""


class MemoryParallel(ParallelCoordinator):
    """Keeps executions beside the memory store; they go with their materializations."""

    def __init__(self) -> None:
        self._rows = ExecutionRows()
        self._clock: Clock = SystemClock()
        self._store: Store | None = None

    async def open(self, app: Host) -> None:
        self._store = app.store
        if isinstance(app.store, MemoryStore):
            self._rows = app.store.attached(ExecutionRows)
            self._clock = app.store.clock

    async def create_execution(
        self,
        materialization_id: int,
        branches: Mapping[str, BranchPlan],
        *,
        failure_mode: FailureMode = FailureMode.ALL_OR_NOTHING,
        timeout: timedelta | None = None,
    ) -> int:
        row = ExecutionRow(failure_mode, timeout, dict(branches))
        self._rows.setdefault(materialization_id, row)
        return materialization_id

    async def schedule_branches(self, execution_id: int) -> ParallelStatus:
        row = self._row(execution_id)
        if row.scheduled_at is None:
            row.scheduled_at = self._clock.now()
        return self._status(execution_id, row)

    async def settle_branches(
        self, execution_id: int, results: Mapping[str, BranchResult]
    ) -> ParallelStatus:
        row = self._row(execution_id)
        for name in results.keys() - row.branches.keys():
            raise UnknownBranchError(name, row.branches)
        for name, result in results.items():
            row.results.setdefault(name, result)
        return self._status(execution_id, row)

    async def end_execution(self, execution_id: int, error: JsonText | None) -> ParallelStatus:
        row = self._row(execution_id)
        row.ended = ExecutionStatus.COMPLETE if error is None else ExecutionStatus.FAILED
        row.error = error
        return self._status(execution_id, row)

    async def status(self, execution_id: int) -> ParallelStatus:
        return self._status(execution_id, self._row(execution_id))

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        if self._store is None:
            return {}
        ids = (it.id for it in await self._store.materializations(run_id))
        found = {id_: self._status(id_, self._rows[id_]) for id_ in ids if id_ in self._rows}
        return {
            id_: remark({name: it.status.value for name, it in status.branches.items()})
            for id_, status in found.items()
        }

    def _row(self, execution_id: int) -> ExecutionRow:
        row = self._rows.get(execution_id)
        if row is None:
            raise ExecutionNotFoundError(execution_id)
        return row

    def _status(self, execution_id: int, row: ExecutionRow) -> ParallelStatus:
        branches = {name: self._state(row, name, plan) for name, plan in row.branches.items()}
        return ParallelStatus(
            execution_id,
            row.failure_mode,
            row.scheduled_at is not None,
            row.ended,
            branches,
            row.error,
        )

    def _state(self, row: ExecutionRow, name: str, plan: BranchPlan) -> BranchState:
        result = row.results.get(name)
        if result is not None:
            return BranchState(plan, result.status, result.result, result.error, None)
        limits = [it for it in (plan.timeout, row.timeout) if it is not None]
        due_in = None
        if limits and row.scheduled_at is not None:
            due_in = row.scheduled_at + min(limits) - self._clock.now()
        return BranchState(replace(plan), BranchStatus.PENDING, None, None, due_in)
