"""
Materializations that wait for others themselves: a part of the store's contract.

Such a one begins before its upstreams (`flowstone.core.source.Edge.awaited`), says with
`flowstone.core.outcome.Until` what it waits for, and is woken in the very transaction in which that
comes true, whoever ends the upstream: its worker, a cancelled run, the rescue from a dead worker.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from flowstone.core.contracts.store_records import Key
from flowstone.core.json_value import JsonText
from flowstone.core.status import Status


@dataclass(slots=True)
class Awaited:
    """
    Something that a materialization waits for itself, or that came before it, as it stands.

    Attributes:
        error: JSON of the failure, or the reason of a skip or cancel.
    """

    id: int
    key: Key
    status: Status
    error: JsonText | None


class Awaiting(ABC):
    """What a store does for them, beside waking them."""

    @abstractmethod
    async def awaited(self, materialization_id: int) -> Sequence[Awaited]:
        """Return what the materialization waits for itself, in the order of the plan."""

    @abstractmethod
    async def followed(self, materialization_id: int) -> Sequence[Awaited]:
        """
        Return how everything ended that only came before the materialization.

        Optional upstreams without a value are among it.
        """

    @abstractmethod
    async def give_up(
        self, materialization_id: int, claim: int, given_up: Sequence[int], reason: str
    ) -> int:
        """
        Cancel what a materialization awaits no longer, and what only that needs.

        What somebody else needs, or what was asked for itself, goes on. What runs is asked to stop.
        The run is not called failed or cancelled for any of them.

        Args:
            claim: The fence: nothing happens unless the materialization runs under it.
            given_up: Some of what it awaits.

        Returns:
            How many were open. Doing it twice does no harm.
        """
