"""The IO manager that needs nothing: values in a dictionary, for tests and notebooks."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import astuple
from datetime import UTC, datetime
from typing import TypeAlias

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.io_manager import Address, IOManager, Piece, Written
from flowstone.core.defaults.json_codec import JsonCodec
from flowstone.core.errors import NotStoredError
from flowstone.core.json_value import JsonValue

_Place: TypeAlias = tuple[str, str, int, int, str]


class MemoryIO(IOManager):
    """
    Keeps values in this process, as the text that the codec makes of them.

    What could not be stored elsewhere cannot be stored here either, and a value that comes back is
    a new one. Nothing is ever removed but by `delete`.

    Args:
        codec: How values become text; None is `JsonCodec`.
    """

    def __init__(self, codec: Codec | None = None) -> None:
        self._codec = JsonCodec() if codec is None else codec
        self._values: dict[_Place, str] = {}
        self._written_at: dict[_Place, datetime] = {}

    async def store(self, address: Address, value: object) -> Written:
        """Keep the value under its address; see `IOManager.store`."""
        text = self._codec.encode(value)
        place = astuple(address)
        self._values[place] = text
        self._written_at[place] = datetime.now(UTC)
        return Written(location=list(place), size_bytes=len(text.encode("utf-8")))

    async def load(self, location: JsonValue, annotation: object = object) -> object:
        """Return the value at a location; see `IOManager.load`."""
        return self._codec.decode(self._found(location), annotation)

    async def exists(self, location: JsonValue) -> bool:
        """Return whether something is kept there."""
        return _place(location) in self._values

    async def delete(self, location: JsonValue) -> None:
        """Forget what is kept there; nothing there is fine."""
        place = _place(location)
        if place is not None:
            self._values.pop(place, None)
            self._written_at.pop(place, None)

    async def written(self, origin: str) -> AsyncIterator[Piece]:
        """Yield what is kept for one store."""
        for place, written_at in list(self._written_at.items()):
            text = self._values.get(place)
            if place[4] == origin and text is not None:
                size_bytes = len(text.encode("utf-8"))
                yield Piece(list(place), place[2], place[3], written_at, size_bytes)

    async def list_partitions(self, asset: str) -> list[str]:
        """Return the partitions that have a value, sorted."""
        return sorted({place[1] for place in self._values if place[0] == asset})

    async def metadata(self, location: JsonValue) -> Mapping[str, JsonValue]:
        """Return ``size_bytes`` of what is kept there."""
        return {"size_bytes": len(self._found(location).encode("utf-8"))}

    def _found(self, location: JsonValue) -> str:
        place = _place(location)
        if place is None or place not in self._values:
            raise NotStoredError(f"nothing is stored in memory at {location!r}")
        return self._values[place]


def _place(location: JsonValue) -> _Place | None:
    match location:
        case [str(asset), str(partition), int(id_), int(claim), str(origin)]:
            return asset, partition, id_, claim, origin
    return None
