"""
What keeps the state of a kind of asset beside the store: a barrier, a decision, an open gate.

A plugin defines its own contract as a subclass, and brings it for a store in memory and for one in
a database. Strategies reach it by that contract, so that another implementation can be put in by
configuration and sees every call.
"""

from collections.abc import Mapping
from typing import ClassVar

from flowstone.core.contracts.host import Host


class Coordinator:
    """
    The root of such contracts; one instance serves one application.

    Obligations: what it is told twice it does once; a step that belongs to the end of a wait
    happens in one transaction with the wake-up, or is safe to repeat.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    async def open(self, app: Host) -> None:
        """
        Make ready; called once, after the application's store was opened.

        Args:
            app: The application. Its store stays open for longer than the coordinator.
        """

    async def close(self) -> None:
        """Give everything back; safe to call twice."""

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        """
        Return what there is to say of a run's materializations, by id: one short line each.

        ``flowstone runs show`` prints it beside their status. The default says nothing.
        """
        return {}
