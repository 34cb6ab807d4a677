"""The plugin: registers `FilesIO` as ``files``."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.plugins.io_files.files_io import FilesIO


class FilesPlugin(Plugin):
    """With it, ``io=("files", {"root": "/data"})`` needs no object in the application."""

    name = "io_files"

    def register(self, registries: Registries) -> None:
        """Add `FilesIO`, which takes its root from whoever names it."""
        registries.io.register("files", FilesIO)


plugin = FilesPlugin()
