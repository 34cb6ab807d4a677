"""
Where values are kept: the IO manager's contract.

A value is written first, to an address that belongs to one attempt; the engine commits the location
that came back together with the materialization. An attempt that turns out to be late has written
an orphan, and has overwritten nothing; a sweep finds orphans by `IOManager.written`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from flowstone.core.errors import StorageError
from flowstone.core.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class Address:
    """
    What a value is stored for: one attempt of one materialization.

    Attributes:
        asset: The asset's full name.
        partition: The encoded partition; empty is none.
        materialization_id: Unique for ever in its store.
        claim: The claim of the materialization that produced the value; no two attempts share one.
        origin: Which store the materialization is of: lower-case letters and digits. Stores that
            share a bucket or a folder write side by side, and sweep their own.
    """

    asset: str
    partition: str
    materialization_id: int
    claim: int
    origin: str


@dataclass(frozen=True, slots=True)
class Written:
    """
    What the engine commits for a stored value.

    Attributes:
        location: Where it is, JSON; given back to `IOManager.load`.
        inline: JSON text that the engine is to keep itself, in the transaction that settles the
            materialization; None when the value was written already.
        size_bytes: How large it is as written; None when that is not known.
    """

    location: JsonValue = None
    inline: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """
    Something that an IO manager finds it has written for an attempt, committed or not.

    Attributes:
        location: Enough to delete it; may lack what `IOManager.load` needs.
        materialization_id: As in the `Address` that it was written for; so is ``claim``.
        written_at: When, with a time zone, by the clock of the storage.
    """

    location: JsonValue
    materialization_id: int
    claim: int
    written_at: datetime
    size_bytes: int


class IOManager(ABC):
    """
    Loads and stores the values of assets.

    Obligations: ``None`` is a value. Two addresses never share a place, so storing overwrites
    nothing but an earlier try of the same address. A location is JSON, and is enough to load the
    value in another process. Methods are called concurrently. Failures are raised, as
    `StorageError` where the manager knows what went wrong.
    """

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    async def store(self, address: Address, value: object) -> Written:
        """
        Write the value for this address.

        Repeating it replaces what the first call wrote.

        Raises:
            ValueNotStorableError: The value cannot be kept as it is.
        """

    @abstractmethod
    async def load(self, location: JsonValue, annotation: object = object) -> object:
        """
        Return the value at a location, as the reader's annotation says.

        Raises:
            NotStoredError: Nothing is there.
            ValueNotReadableError: What is there does not fit the annotation.
        """

    @abstractmethod
    async def exists(self, location: JsonValue) -> bool:
        """Return whether something is stored there."""

    @abstractmethod
    async def delete(self, location: JsonValue) -> None:
        """Remove what is stored there; nothing there is fine."""

    async def discard(self, locations: Sequence[JsonValue]) -> None:
        """Remove what is stored at several locations; one by one, unless overridden."""
        for location in locations:
            await self.delete(location)

    def written(self, origin: str) -> AsyncIterator[Piece]:
        """
        Yield everything that was written for the attempts of one store, in any order.

        What a sweep compares with the store's rows: late attempts, and those that died, have
        written what no row knows. Remnants of writes that were cut short belong to it.

        Args:
            origin: As in the `Address`; what other stores wrote is left out.

        Raises:
            StorageError: This manager cannot tell, which is the default.
        """
        raise StorageError(f"{type(self).__qualname__} does not support written")

    async def list_partitions(self, asset: str) -> list[str]:
        """
        Return the encoded partitions of an asset that have something stored, sorted.

        Raises:
            StorageError: This manager cannot tell, which is the default.
        """
        raise StorageError(f"{type(self).__qualname__} does not support list_partitions")

    async def metadata(self, location: JsonValue) -> Mapping[str, JsonValue]:
        """
        Return facts about what is stored there, such as ``size_bytes``.

        Raises:
            StorageError: This manager knows none, which is the default.
            NotStoredError: Nothing is there.
        """
        raise StorageError(f"{type(self).__qualname__} does not support metadata")
