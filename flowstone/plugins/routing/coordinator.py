"""Where decisions are kept: the contract."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.plugins.routing.decision import Decision, Rule


class RoutingCoordinator(Coordinator, ABC):
    """
    Keeps one decision for each run, router and partition: the first that is recorded.

    It is kept for as long as the router's materialization is.
    """

    @abstractmethod
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
        """
        Record a decision, and return the one that stands.

        That is the first one: whoever is told twice, by a retry or by two workers at once, gets
        the same decision.

        Args:
            materialization_id: The router's, in this run.

        Raises:
            DecisionNotFoundError: The run is kept no longer, so nothing was recorded.
        """

    @abstractmethod
    async def get(self, run_id: int, router: str, partition: str) -> Decision:
        """
        Return the decision of a run.

        Raises:
            DecisionNotFoundError: None was made yet, or it is kept no longer.
        """

    @abstractmethod
    async def to_output(self, decision_id: int) -> Decision:
        """
        Return a decision by its id, as the router's value has it.

        Raises:
            DecisionNotFoundError: There is none.
        """

    @abstractmethod
    async def outputs(self, decision_ids: Sequence[int]) -> Sequence[Decision]:
        """Return those of these decisions that there are, in the order of their ids."""

    @abstractmethod
    async def decisions(self, run_id: int) -> Sequence[Decision]:
        """Return what was decided in a run, in the order of the routers' materializations."""

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        """Return what each router of a run has selected, and why."""
        return {it.decision_id: str(it) for it in await self.decisions(run_id)}
