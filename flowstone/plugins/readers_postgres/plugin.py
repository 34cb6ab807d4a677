"""The plugin: registers `PostgresReader` as ``postgres``."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.plugins.readers_postgres.postgres_reader import PostgresReader


class PostgresReadersPlugin(Plugin):
    """With it, ``reader("postgres", dsn=…, query=…, cursor_field=…)`` works by name."""

    name = "readers_postgres"

    def register(self, registries: Registries) -> None:
        """Add `PostgresReader`, which takes its query from whoever names it."""
        registries.readers.register("postgres", PostgresReader)


plugin = PostgresReadersPlugin()
