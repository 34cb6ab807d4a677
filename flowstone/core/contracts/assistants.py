"""
Assistants: further claims of one materialization, for work that it shares out among workers.

They are claimed like anything else, of queues and of a run alone, and reach `Strategy.assist`.
Nobody is shown them, and their run does not end before they have.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from flowstone.core.json_value import JsonText


class Assistants(ABC):
    """The part of a store that keeps them."""

    @abstractmethod
    async def add_assistants(
        self,
        materialization_id: int,
        arguments: Sequence[JsonText],
        *,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Sequence[int]:
        """
        Add one for each of the arguments and return their ids.

        They have the inputs and the partition of the materialization. None are added, and nothing
        is returned, when it has ended, or when its run is to be cancelled.

        Args:
            queue: Where they are claimed from; None is the materialization's own, and so is the
                priority.
        """

    @abstractmethod
    async def dismiss_assistants(self, materialization_id: int) -> int:
        """End those that nobody has claimed and return how many; the others end by themselves."""
