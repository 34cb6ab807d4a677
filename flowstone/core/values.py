"""Values on their way between an asset and the IO manager that keeps them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from flowstone.core.chosen_io import DEFAULT_IO, ChosenIO
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.io_manager import Address
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.store import Claim, JsonText, Store, StoredInput
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import NotStoredError, StorageError, ValueNotReadableError
from flowstone.core.processes.call import Encoded
from flowstone.core.telemetry import listens

MAX_BYTES = 16 * 1024 * 1024
"""The largest value that the store keeps itself, as JSON; larger ones belong in an IO manager."""

FETCHED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What a settlement says about a value: JSON for the store, or where an IO manager put it."""

    value: JsonText | None = None
    io: str | None = None
    location: JsonText | None = None
    size_bytes: int = 0


class Values:
    """
    Loads and stores by the name of an IO manager, and its configuration if there is one.

    What the store itself keeps is written in the very transaction that settles its materialization.

    What an IO manager raises becomes what the error normalizer knows, or else a `StorageError`.

    Attributes:
        io: The IO managers by what is chosen.
    """

    def __init__(
        self,
        store: Store,
        registries: Registries,
        codec: Codec,
        telemetry: TelemetryEmitter,
    ) -> None:
        self._store = store
        self.io = ChosenIO(registries.io)
        self._normalizer = registries.normalizer
        self._codec = codec
        self._telemetry = telemetry
        self._origin: str | None = None

    def max_bytes(self, io: str) -> int | None:
        """
        Return how large the text of a value may be that is stored through ``io``; None is no limit.

        Raises as `ChosenIO.text` does.
        """
        return MAX_BYTES if self.io.holder(io) is None else None

    async def store(self, io: str, claim: Claim, value: object) -> Kept:
        """
        Write the value, unless the store keeps it, and return what the settlement has to say.

        It goes to an address that no other attempt has, so a late one overwrites nothing.

        Raises:
            ValueNotStorableError: The value cannot be kept as it is.
            NotRegisteredError: No IO manager has this name.
            StorageError: The IO manager failed.
        """
        holder = self.io.holder(io)
        if not listens(self._telemetry, "io.store"):
            return await self._store_value(holder, claim, value)
        facts = self._facts(claim.asset, claim.partition, holder)
        with self._telemetry.span("io.store", facts) as measurements:
            kept = await self._store_value(holder, claim, value)
            measurements["size_bytes"] = kept.size_bytes or _bytes(kept.value)
            return kept

    async def _store_value(self, holder: str | None, claim: Claim, value: object) -> Kept:
        if isinstance(value, Encoded):
            if holder is None:
                return Kept(value.text)
            value = self._codec.decode(value.text, value.annotation)
        elif holder is None:
            return Kept(self._codec.encode(value, max_bytes=MAX_BYTES))
        manager = self.io.manager(holder)
        if self._origin is None:
            self._origin = await self._store.origin()
        address = Address(claim.asset, claim.partition, claim.id, claim.claim, self._origin)
        with self._failures():
            written = await manager.store(address, value)
        if written.inline is not None:
            return Kept(written.inline)
        location = self._codec.encode(written.location)
        return Kept(None, holder, location, written.size_bytes or 0)

    async def bring(self, sources: Sequence[StoredInput]) -> None:
        """Fetch what the store holds and a claim did not bring, a thousand values at a time."""
        missing = [it for it in sources if it.io is None and it.value is None]
        for start in range(0, len(missing), FETCHED_AT_ONCE):
            part = missing[start : start + FETCHED_AT_ONCE]
            found = await self._store.values([it.materialization_id for it in part])
            for it in part:
                it.value = found.get(it.materialization_id)

    async def load(self, source: StoredInput, partition: str, annotation: object) -> object:
        """
        Return a stored value, as the reader's annotation says.

        Raises:
            NotStoredError: It is gone.
            ValueNotReadableError: It is not what the annotation says.
            StorageError: The IO manager failed.
        """
        try:
            if not listens(self._telemetry, "io.load"):
                if source.value is not None:
                    return self._codec.decode(source.value, annotation)
                return await self._load_value(source, annotation)
            facts = self._facts(source.asset, partition, source.io)
            with self._telemetry.span("io.load", facts) as measurements:
                if source.io is None:
                    source = replace(source, value=await self._text(source))
                measurements["size_bytes"] = _bytes(source.value)
                return await self._load_value(source, annotation)
        except ValueNotReadableError as error:
            if error.asset:
                raise
            named = ValueNotReadableError(error.why, path=error.path, asset=source.asset)
            raise named from error.__cause__

    async def text(self, source: StoredInput, partition: str, annotation: object) -> JsonText:
        """
        Return a stored value as the codec's text, for a reader in another process.

        Args:
            annotation: The reader's, for an IO manager that wants to know.

        Raises:
            NotStoredError: It is gone.
            ValueNotStorableError: An IO manager keeps what the codec does not know.
            StorageError: The IO manager failed.
        """
        if source.io is None and not listens(self._telemetry, "io.load"):
            return await self._text(source)
        facts = self._facts(source.asset, partition, source.io)
        with self._telemetry.span("io.load", facts) as measurements:
            if source.io is None:
                text = await self._text(source)
            else:
                text = self._codec.encode(await self._load_value(source, annotation))
            measurements["size_bytes"] = _bytes(text)
            return text

    async def _load_value(self, source: StoredInput, annotation: object) -> object:
        if source.io is None:
            return self._codec.decode(await self._text(source), annotation)
        if source.location is None:
            raise _gone(source)
        manager = self.io.manager(source.io)
        with self._failures():
            return await manager.load(json.loads(source.location), annotation)

    async def _text(self, source: StoredInput) -> JsonText:
        """Return what the store holds; a claim brings it only when it is small."""
        if source.value is not None:
            return source.value
        found = await self._store.values([source.materialization_id])
        try:
            return found[source.materialization_id]
        except KeyError:
            raise _gone(source) from None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            storage_error = self._normalizer.normalize(error, otherwise=StorageError)
            if storage_error is error:
                raise
            raise storage_error from error

    def _facts(self, asset: str, partition: str, holder: str | None) -> dict[str, object]:
        return {"asset": asset, "partition": partition, "io_manager": holder or DEFAULT_IO}


def _gone(source: StoredInput) -> NotStoredError:
    return NotStoredError(
        f"the value of {source.asset} that materialization {source.materialization_id} gave is no "
        "longer stored: what was replaced is pruned (FlowStone(retention=...)); the current value "
        "is what get() returns"
    )


def _bytes(text: str | None) -> int:
    return len(text.encode("utf-8", "replace")) if text else 0
