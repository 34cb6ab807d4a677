"""The plugin: approvals, their tables, and those who are told of them."""

from collections.abc import Iterable
from typing import ClassVar

from flowstone.core.contract_version import check_implementation
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import RegistrationError
from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
from flowstone.plugins.checkpoints.events import EVENTS
from flowstone.plugins.checkpoints.log_notifier import LogNotifier
from flowstone.plugins.checkpoints.memory_approvals import MemoryApprovals
from flowstone.plugins.checkpoints.notifier import Notifier
from flowstone.plugins.checkpoints.notifying import Notifying

BOUNDS = {
    "checkpoints_approvals": "one row for each materialization that asked for approval; goes with "
    "it, by retention",
    "checkpoints_notices": "deleted once notifiers were told, or after half a day of trying; go "
    "with their materialization at the latest",
}


class CheckpointsPlugin(Plugin):
    """
    An application with an asset that needs approval uses it without being told to.

    Args:
        notifiers: Who is told of approvals; by default the log.

    Raises:
        RegistrationError: One is no `Notifier`, or two have the same name.
    """

    name = "checkpoints"
    contract_version: ClassVar[str] = "1.0.0"

    def __init__(self, notifiers: Iterable[Notifier] | None = None) -> None:
        self.notifiers = [LogNotifier()] if notifiers is None else [*notifiers]
        for notifier in self.notifiers:
            if not isinstance(notifier, Notifier):
                raise RegistrationError(f"{notifier!r} is no Notifier")
            check_implementation(notifier, Notifier, subject=f"the notifier {notifier.name}")
        names = [it.name for it in self.notifiers]
        if len({*names}) < len(names):
            raise RegistrationError(f"two notifiers have the same name: {', '.join(names)}")

    def register(self, registries: Registries) -> None:
        """Add the coordinator, its tables, the service that tells, and the events."""
        from flowstone.engine.statements import sql_root

        registries.coordinators.register(
            CheckpointCoordinator, memory=MemoryApprovals, durable=_on_postgres
        )
        registries.tables.register(
            self.name, Tables(sql_root() / self.name / "revisions", bounds=BOUNDS)
        )
        registries.services.register(self.name, Notifying(self.notifiers))
        registries.events.add(*EVENTS)


def _on_postgres() -> CheckpointCoordinator:
    # Only there: without a database nothing of its drivers is imported.
    from flowstone.plugins.checkpoints.postgres_approvals import PostgresApprovals

    return PostgresApprovals()


plugin = CheckpointsPlugin()
