"""Decisions in the table ``routing_decisions``."""

from collections.abc import Sequence

from flowstone.engine.kept_in_tables import KeptInTables
from flowstone.engine.rows import Row
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision, Rule
from flowstone.plugins.routing.errors import DecisionNotFoundError

_RECORD = ("bigint", "bigint", "text", "text", "text", "text[]", "text", "text", "text")


class PostgresRouting(KeptInTables, RoutingCoordinator):
    """Keeps decisions beside the runs that they were made in."""

    async def record(
        self,
        run_id: int,
        router: str,
        partition: str,
        selected_branch: str | None,
        *,
        materialization_id: int,
        available_branches: Sequence[str],
        rule: Rule,
        predicate: str | None = None,
        error: str | None = None,
    ) -> Decision:
        found = await self._store.call(
            "routing_record_v1",
            _RECORD,
            materialization_id,
            run_id,
            router,
            partition,
            selected_branch,
            list(available_branches),
            rule.value,
            predicate,
            error,
        )
        if not found:
            raise DecisionNotFoundError(f"run {run_id} is kept no longer")
        return _decision(found[0])

    async def get(self, run_id: int, router: str, partition: str) -> Decision:
        found = await self._store.call(
            "routing_get_v1", ("bigint", "text", "text"), run_id, router, partition
        )
        if not found:
            raise DecisionNotFoundError.of(run_id, router, partition)
        return _decision(found[0])

    async def to_output(self, decision_id: int) -> Decision:
        found = await self.outputs([decision_id])
        if not found:
            raise DecisionNotFoundError(f"there is no decision {decision_id}")
        return found[0]

    async def outputs(self, decision_ids: Sequence[int]) -> Sequence[Decision]:
        found = await self._store.call(
            "routing_outputs_v1", ("bigint[]",), list(decision_ids), is_bulk=True
        )
        return [_decision(row) for row in found]

    async def decisions(self, run_id: int) -> Sequence[Decision]:
        found = await self._store.call("routing_decisions_v1", ("bigint",), run_id, is_bulk=True)
        return [_decision(row) for row in found]


def _decision(row: Row) -> Decision:
    return Decision(
        decision_id=row["materialization_id"],
        run_id=row["run_id"],
        router=row["router"],
        partition=row["partition"],
        selected_branch=row["selected_branch"],
        available_branches=tuple(row["available_branches"]),
        rule=Rule(row["rule"]),
        predicate=row["predicate"],
        error=row["error"],
    )
