"""What the plugin brings: gates in memory and in tables, their URLs, and their upkeep."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from flowstone.core import duration
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Health
from flowstone.core.contracts.tables import Tables
from flowstone.plugins.signal_gate.callbacks import Callbacks, CallbacksResource, from_environment
from flowstone.plugins.signal_gate.coordinator import GateCoordinator
from flowstone.plugins.signal_gate.errors import SecretMissingError
from flowstone.plugins.signal_gate.events import EVENTS
from flowstone.plugins.signal_gate.memory_gates import MemoryGates
from flowstone.plugins.signal_gate.strategy import Gated
from flowstone.plugins.signal_gate.upkeep import EarlySignals


class SignalGates(Plugin):
    """
    Signal gates; an application with such an asset uses the plugin without being told to.

    Args:
        secrets: What URLs are signed with, 32 bytes or more: the first signs, all verify. None is
            what the environment says in ``FLOWSTONE_SIGNAL_SECRETS``, with spaces in between.
        base_url: Where ``signals_app`` is reached from outside; ``FLOWSTONE_SIGNAL_URL``.
        path: What follows it, before the token.
        keep_early: For how long a signal is kept whose gate does not open.

    Raises:
        InvalidOptionError: A secret is too short, or another option is wrong.
    """

    name = "signal_gate"

    def __init__(
        self,
        *,
        secrets: Sequence[str | bytes] | None = None,
        base_url: str | None = None,
        path: str = "/signals",
        keep_early: timedelta | str | float = "7d",
    ) -> None:
        self._secrets, self._base_url, self._path = secrets, base_url, path
        self._keep_early = duration.parse(keep_early, option="keep_early")
        Callbacks(secrets or (), base_url or "", path)  # refuses what is wrong with them

    def register(self, registries: Registries) -> None:
        """Add all of it."""
        callbacks = from_environment(self._secrets, self._base_url, self._path)
        registries.coordinators.register(GateCoordinator, memory=MemoryGates, durable=_on_postgres)
        registries.resources.register(Callbacks, CallbacksResource, {"callbacks": callbacks})
        registries.services.register("signal_gate.early", partial(EarlySignals, self._keep_early))
        registries.tables.register("signal_gate", tables())
        registries.events.add(*EVENTS)

    async def health_check(self, app: Host) -> Health:
        """Say whether the gates that give out URLs have a secret to sign them with."""
        if app.resources.get(Callbacks).has_secret:
            return Health.healthy()
        for asset in app.definitions:
            strategy = asset.find_strategy(Gated)
            if strategy is not None and strategy.callbacks:
                return Health.unhealthy(f"{asset.full_name}: {SecretMissingError()}")
        return Health.healthy()


def _on_postgres() -> GateCoordinator:
    # Only there: without a database nothing of its drivers is imported.
    from flowstone.plugins.signal_gate.postgres_gates import PostgresGates

    return PostgresGates()


def tables() -> Tables:
    """Return the migrations of the gates' tables."""
    from flowstone.engine.statements import sql_root

    return Tables(
        sql_root() / "signal_gate" / "revisions",
        bounds={
            "signal_gate_gates": "go with their materialization, by retention",
            "signal_gate_early": "a signal without a gate goes after SignalGates(keep_early=)",
        },
    )


plugin = SignalGates()
