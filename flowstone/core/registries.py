"""The registries that an application begins with: empty, with memory where nothing is named."""

from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.registries import Registries
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.registry import Registry

__all__ = ["Registries", "in_memory"]


def in_memory() -> Registries:
    """Return registries whose default IO manager keeps values in memory."""
    return Registries(io=Registry("IO manager", contract=IOManager, fallback=MemoryIO))
