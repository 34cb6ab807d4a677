"""What a branch needs to know of its router: which branches there are."""

from abc import ABC, abstractmethod

from flowstone.core.asset import Asset


class Branching(ABC):
    """Part of the strategy of a router."""

    @abstractmethod
    def branches(self, asset: Asset[..., object]) -> tuple[str, ...]:
        """Return the branches of the router, each once; empty when nothing says them."""
