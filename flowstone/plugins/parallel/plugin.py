"""The plugin: coordinators, tables, telemetry events."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.plugins.parallel.coordinator import ParallelCoordinator
from flowstone.plugins.parallel.memory_coordinator import MemoryParallel
from flowstone.plugins.parallel.telling import EVENTS


class ParallelPlugin(Plugin):
    """An application that has a parallel asset uses it without being told to."""

    name = "parallel"

    def register(self, registries: Registries) -> None:
        """Add what parallel assets need."""
        registries.coordinators.register(
            ParallelCoordinator, memory=MemoryParallel, durable=_on_postgres
        )
        registries.tables.register("parallel", _tables)
        registries.events.add(*EVENTS)


def _on_postgres() -> ParallelCoordinator:
    # Only there: without a database nothing of its drivers is imported.
    from flowstone.plugins.parallel.postgres_coordinator import PostgresParallel

    return PostgresParallel()


def _tables() -> Tables:
    from flowstone.engine.statements import sql_root

    gone = "go with the asset's materialization, by retention"
    bounds = {"parallel_executions": gone, "parallel_branches": gone}
    return Tables(sql_root() / "parallel" / "revisions", bounds=bounds)


plugin = ParallelPlugin()
