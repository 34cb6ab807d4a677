"""The plugin: tables, coordinators and events of routers."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone.plugins.routing.coordinator import RoutingCoordinator
from flowstone.plugins.routing.memory_routing import MemoryRouting

_ROUTER = ("router", "run_id", "partition")
_DECIDED = (*_ROUTER, "decision_id", "selected_branch", "rule", "predicate")

EVENTS = (
    EventSpec("route.start", ("system_time",), _ROUTER, "A router begins to decide"),
    EventSpec("route.stop", ("duration",), _DECIDED, "A router has decided"),
    EventSpec("route.error", (), (*_ROUTER, "error"), "Deciding failed; a fallback may follow"),
)


class RoutingPlugin(Plugin):
    """Used without being asked for by an application that has a router or a branch of one."""

    name = "routing"

    def register(self, registries: Registries) -> None:
        """Add where decisions are kept, and what is told of them."""
        from flowstone.engine.statements import sql_root

        registries.coordinators.register(
            RoutingCoordinator, memory=MemoryRouting, durable=_on_postgres
        )
        bounds = {"routing_decisions": "goes with the router's materialization, by retention"}
        revisions = sql_root() / "routing" / "revisions"
        registries.tables.register("routing", Tables(revisions, bounds=bounds))
        registries.events.add(*EVENTS)


def _on_postgres() -> RoutingCoordinator:
    # Only there: without a database nothing of its drivers is imported.
    from flowstone.plugins.routing.postgres_routing import PostgresRouting

    return PostgresRouting()


plugin = RoutingPlugin()
