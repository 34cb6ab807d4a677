"""What pruning has deleted, and what it would delete."""

from collections.abc import Mapping
from dataclasses import dataclass

from flowstone.core.status import RunStatus


@dataclass(frozen=True, slots=True)
class Pruned:
    """
    What one batch of pruning deleted.

    Attributes:
        materializations: Of assets; those of jobs are the jobs.
        items: Rows that plugins had of items whose materializations stay for now.
        is_done: Nothing was left that is kept no longer.
    """

    runs: int = 0
    materializations: int = 0
    values: int = 0
    jobs: int = 0
    items: int = 0
    is_done: bool = True

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(
            self.runs + other.runs,
            self.materializations + other.materializations,
            self.values + other.values,
            self.jobs + other.jobs,
            self.items + other.items,
            other.is_done,
        )

    def counts(self) -> dict[str, int]:
        """Return how many of each went."""
        return {
            "runs": self.runs,
            "materializations": self.materializations,
            "values": self.values,
            "jobs": self.jobs,
            "items": self.items,
        }


@dataclass(frozen=True, slots=True)
class Prunable:
    """
    What would be deleted now.

    Attributes:
        runs: How many, by their status.
        items: Rows that plugins have of items, of these runs and of others that stay.
    """

    runs: Mapping[RunStatus, int]
    jobs: int
    items: int
