"""Items from files: those of a folder, or the records of a CSV, JSON-lines or Parquet file."""

from flowstone.plugins.readers_files.csv_reader import CsvReader
from flowstone.plugins.readers_files.folder_reader import FolderReader
from flowstone.plugins.readers_files.json_lines_reader import JsonLinesReader
from flowstone.plugins.readers_files.parquet_reader import ParquetReader

__all__ = ["CsvReader", "FolderReader", "JsonLinesReader", "ParquetReader"]
