"""The plugin: scatters in memory and on Postgres."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.engine.statements import sql_root
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.memory_coordinator import MemoryScatter
from flowstone.plugins.scatter.memory_operations import MemoryScatterOperations
from flowstone.plugins.scatter.operations import ScatterOperations
from flowstone.plugins.scatter.telemetry import EVENTS

GOES = "goes with the materialization that scatters, by retention (runs, failed)"
ITEMS = "goes some time after the run's end, by retention (items)"

BOUNDS = {
    "scatter_barriers": GOES,
    "scatter_feeds": GOES,
    "scatter_items": ITEMS,
    "scatter_children": ITEMS,
    "scatter_batched_keys": ITEMS,
    "scatter_chunks": "a few rows for each pump that runs, and for items to be tried again; none "
    "of a scatter that has ended, but for those of one that was cancelled while nobody worked at "
    "it, which go with its items",
    "scatter_pumps": "one row for each pump that runs",
}


class ScatterPlugin(Plugin):
    """An application that has a scatter uses it without being told to."""

    name = "scatter"

    def register(self, registries: Registries) -> None:
        """Bring the coordinators, the tables and the events."""
        registries.coordinators.register(
            ScatterCoordinator, memory=MemoryScatter, durable=_on_postgres
        )
        registries.coordinators.register(
            ScatterOperations, memory=MemoryScatterOperations, durable=_operations_on_postgres
        )
        registries.tables.register(
            "scatter", Tables(sql_root() / "scatter" / "revisions", bounds=BOUNDS)
        )
        registries.events.add(*EVENTS)


# Only there: without a database nothing of its drivers is imported.
def _on_postgres() -> ScatterCoordinator:
    from flowstone.plugins.scatter.postgres_coordinator import PostgresScatter

    return PostgresScatter()


def _operations_on_postgres() -> ScatterOperations:
    from flowstone.plugins.scatter.postgres_operations import PostgresScatterOperations

    return PostgresScatterOperations()


plugin = ScatterPlugin()
