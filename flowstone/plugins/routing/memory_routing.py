"""Decisions in the memory store."""

from collections.abc import Sequence

from flowstone.core.contracts.host import Host
from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.decision import Decision, Rule
from flowstone.plugins.routing.errors import DecisionNotFoundError


class Decisions(AttachedRows[Decision]):
    """The table of decisions, with its unique key."""

    def __init__(self) -> None:
        super().__init__()
        self.by_key: dict[tuple[int, str, str], Decision] = {}

    def insert(self, decision: Decision) -> Decision:
        """Keep a decision unless there is one, and return the one that stands."""
        key = (decision.run_id, decision.router, decision.partition)
        found = self.by_key.get(key) or self.get(decision.decision_id)
        if found is None:
            found = self[decision.decision_id] = self.by_key[key] = decision
        return found

    def forget(self, materialization_id: int) -> None:
        """Let a decision go together with its router's materialization."""
        found = self.pop(materialization_id, None)
        if found is not None:
            del self.by_key[found.run_id, found.router, found.partition]


class MemoryRouting(RoutingCoordinator):
    """Keeps decisions beside the runs that they were made in."""

    _store: MemoryStore
    _decisions: Decisions

    async def open(self, app: Host) -> None:
        assert isinstance(app.store, MemoryStore), "made for a store in memory"
        self._store = app.store
        self._decisions = app.store.attached(Decisions)

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
        if self._store.status_of(materialization_id) is None:
            raise DecisionNotFoundError(f"run {run_id} is kept no longer")
        return self._decisions.insert(
            Decision(
                materialization_id,
                run_id,
                router,
                partition,
                selected_branch,
                tuple(available_branches),
                rule,
                predicate,
                error,
            )
        )

    async def get(self, run_id: int, router: str, partition: str) -> Decision:
        try:
            return self._decisions.by_key[run_id, router, partition]
        except KeyError:
            raise DecisionNotFoundError.of(run_id, router, partition) from None

    async def to_output(self, decision_id: int) -> Decision:
        try:
            return self._decisions[decision_id]
        except KeyError:
            raise DecisionNotFoundError(f"there is no decision {decision_id}") from None

    async def outputs(self, decision_ids: Sequence[int]) -> Sequence[Decision]:
        wanted = sorted(set(decision_ids))
        return [self._decisions[id_] for id_ in wanted if id_ in self._decisions]

    async def decisions(self, run_id: int) -> Sequence[Decision]:
        return await self.outputs([it.id for it in await self._store.materializations(run_id)])
