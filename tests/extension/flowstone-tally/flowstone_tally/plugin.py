"""What the package brings, by name."""

from pathlib import Path

from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Health
from flowstone.core.contracts.tables import Tables
from flowstone.core.telemetry_catalogue import EventSpec
from flowstone_tally.counts import Connection, Counts, CountsResource
from flowstone_tally.notes_io import NotesIO
from flowstone_tally.service import Counter


class TallyPlugin(Plugin):
    name = "tally"

    def register(self, registries: Registries) -> None:
        registries.io.register("notes", NotesIO)
        registries.resources.register(Counts, CountsResource)
        registries.services.register("tally", Counter)
        registries.tables.register("tally", Tables(Path(__file__).parent / "revisions"))
        registries.events.add(
            EventSpec("tally.reached", ("count",), ("name",), "A tally woke what waited for it")
        )

    async def health_check(self, app: Host) -> Health:
        if app.dsn is not None:
            async with Connection(app.dsn, app.schema) as counts:
                await counts.reached()
        return Health.healthy()


plugin = TallyPlugin()
