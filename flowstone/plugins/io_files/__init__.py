"""Values as files, on a disk or a file system that all workers share."""

from flowstone.plugins.io_files.files_io import FilesIO

__all__ = ["FilesIO"]
