"""Executions in the tables of ``sql/parallel``."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from flowstone.core.json_value import JsonText
from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import milliseconds
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

CREATE_TYPES = (
    "bigint", "text", "bigint", "text[]", "text[]", "boolean[]", "boolean[]", "bigint[]",
    "bigint[]",
)  # fmt: skip


class PostgresParallel(KeptInTables, ParallelCoordinator):
    """One SQL function for each verb, on the application's own connections."""

    async def create_execution(
        self,
        materialization_id: int,
        branches: Mapping[str, BranchPlan],
        *,
        failure_mode: FailureMode = FailureMode.ALL_OR_NOTHING,
        timeout: timedelta | None = None,
    ) -> int:
        plans = branches.values()
        await self._store.call(
            "parallel_create_execution_v1",
            CREATE_TYPES,
            materialization_id,
            failure_mode.value,
            milliseconds(timeout),
            list(branches),
            [it.asset for it in plans],
            [it.required for it in plans],
            [it.is_waited_for for it in plans],
            [milliseconds(it.timeout) for it in plans],
            [it.materialization_id for it in plans],
        )
        return materialization_id

    async def schedule_branches(self, execution_id: int) -> ParallelStatus:
        await self._store.call("parallel_schedule_branches_v1", ("bigint",), execution_id)
        return await self.status(execution_id)

    async def settle_branches(
        self, execution_id: int, results: Mapping[str, BranchResult]
    ) -> ParallelStatus:
        given = results.values()
        unknown: Sequence[str] = await self._store.call_value(
            "parallel_settle_branches_v1",
            ("bigint", "text[]", "text[]", "text[]", "text[]"),
            execution_id,
            list(results),
            [it.status.value for it in given],
            [it.result for it in given],
            [it.error for it in given],
        )
        status = await self.status(execution_id)
        for name in unknown:
            raise UnknownBranchError(name, status.branches)
        return status

    async def end_execution(self, execution_id: int, error: JsonText | None) -> ParallelStatus:
        await self._store.call("parallel_end_execution_v1", ("bigint", "text"), execution_id, error)
        return await self.status(execution_id)

    async def status(self, execution_id: int) -> ParallelStatus:
        rows = await self._store.call("parallel_status_v1", ("bigint",), execution_id)
        if not rows:
            raise ExecutionNotFoundError(execution_id)
        first = rows[0]
        return ParallelStatus(
            execution_id,
            FailureMode(first["failure_mode"]),
            first["is_scheduled"],
            ExecutionStatus(first["ended"]) if first["ended"] else None,
            {row["branch"]: _state(row) for row in rows if row["branch"] is not None},
            first["error"],
        )

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        branches: dict[int, dict[str, str]] = {}
        for row in await self._store.call("parallel_branches_of_run_v1", ("bigint",), run_id):
            of_one = branches.setdefault(row["materialization_id"], {})
            of_one[row["branch"]] = row["status"]
        return {id_: remark(of_one) for id_, of_one in branches.items()}


# Any: what a column holds is said by the SQL function.
def _state(row: Mapping[str, Any]) -> BranchState:
    plan = BranchPlan(
        row["asset"],
        row["is_required"],
        row["is_waited_for"],
        _duration(row["timeout_ms"]),
        row["branch_materialization_id"],
    )
    status = BranchStatus(row["status"])
    return BranchState(plan, status, row["result"], row["branch_error"], _duration(row["due_ms"]))


def _duration(milliseconds_: int | None) -> timedelta | None:
    return None if milliseconds_ is None else timedelta(milliseconds=milliseconds_)
