"""Where tests keep a value as a file, and what lies there."""

from pathlib import Path

from flowstone.core.contracts.io_manager import Address
from flowstone.plugins.io_files import FilesIO

ADDRESS = Address("sales.report", "d:2025-01-15", 7, 1, "3f2a")


def files(folder: Path) -> list[str]:
    """Return everything below a folder that is no folder, hidden or not."""
    return sorted(
        str(it.relative_to(folder))
        for it in folder.rglob("*")
        if it.is_symlink() or not it.is_dir()
    )


async def path_of(io: FilesIO, address: Address, value: object) -> Path:
    written = await io.store(address, value)
    assert isinstance(written.location, dict)
    return io.root / str(written.location["path"])
