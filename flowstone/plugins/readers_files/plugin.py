"""The plugin: registers the readers of files as ``folder``, ``csv``, ``jsonl`` and ``parquet``."""

from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.plugins.readers_files.csv_reader import CsvReader
from flowstone.plugins.readers_files.folder_reader import FolderReader
from flowstone.plugins.readers_files.json_lines_reader import JsonLinesReader
from flowstone.plugins.readers_files.parquet_reader import ParquetReader


class FileReadersPlugin(Plugin):
    """With it, ``reader("folder", root="/data")`` and the like work by name."""

    name = "readers_files"

    def register(self, registries: Registries) -> None:
        """Add the readers, which take their paths from whoever names them."""
        registries.readers.register("folder", FolderReader)
        registries.readers.register("csv", CsvReader)
        registries.readers.register("jsonl", JsonLinesReader)
        registries.readers.register("parquet", ParquetReader)


plugin = FileReadersPlugin()
