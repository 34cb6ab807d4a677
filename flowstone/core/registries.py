"""The registries that an application begins with: empty, with defaults where nothing is named."""

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.item_reader import ItemReader
from flowstone.core.contracts.registries import Registries
from flowstone.core.defaults.iterable_reader import IterableReader
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.registry import Registry

__all__ = ["Registries", "in_memory"]


def in_memory() -> Registries:
    """Return registries whose defaults are memory and JSON."""
    return Registries(
        io=Registry("IO manager", contract=IOManager, fallback=MemoryIO),
        readers=Registry("item reader", contract=ItemReader, fallback=IterableReader),
        codecs=Registry("codec", contract=Codec, fallback=JsonCodec),
    )
