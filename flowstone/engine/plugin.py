"""The engine as a plugin: the store for DSNs that begin with ``postgresql``."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.registries import Registries
from flowstone.engine.store import PostgresStore


class EnginePlugin(Plugin):
    """Named after the scheme of the DSN, which is how an application finds it."""

    name = "postgresql"

    def register(self, registries: Registries) -> None:
        registries.stores.register("postgresql", PostgresStore)


plugin = EnginePlugin()
