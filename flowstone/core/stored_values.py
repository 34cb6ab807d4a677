"""The values that are stored now, or that a run gave: found by rows, loaded where they are."""

from typing import TypeVar

from flowstone.core import partition as partitions
from flowstone.core.asset import Asset, AssetRef
from flowstone.core.contracts.store import Current, Key, RunRecord, Store, StoredInput
from flowstone.core.definitions import Definitions
from flowstone.core.errors import NotStoredError
from flowstone.core.io_choice import IOLike
from flowstone.core.values import Values

T = TypeVar("T")


class StoredValues:
    """Finds values by asset and partition; former names of an asset count."""

    def __init__(self, definitions: Definitions, store: Store, values: Values) -> None:
        self._definitions = definitions
        self._store = store
        self._values = values

    def keys(self, target: AssetRef, partition: object) -> list[Key]:
        """Return the keys under which the target's value may be, the present name first."""
        asset = self._definitions.get(target)
        text = partitions.encode(partition)
        return [Key(name, text) for name in (asset.full_name, *asset.options.aliases)]

    async def current(
        self, target: AssetRef, partition: object, io: IOLike | None
    ) -> tuple[Key, Current | None]:
        """Return what is stored, invalidated or not; with ``io`` only what that manager holds."""
        keys = self.keys(target, partition)
        holder = None if io is None else self._values.io.holder(io)
        found, _ = await self._store.current(keys)
        for key in keys:
            current = found.get(key)
            if current is not None and (io is None or current.io == holder):
                return key, current
        return keys[0], None

    async def get(self, target: Asset[..., T] | str, partition: object, io: IOLike | None) -> T:
        """
        Return the stored value, decoded as the asset's own type.

        Raises:
            NotStoredError: There is none, or it was invalidated.
        """
        key, current = await self.current(target, partition, io)
        if current is None or current.invalidated:
            slice_ = f"[{key.partition}]" if key.partition else ""
            raise NotStoredError(f"{key.asset}{slice_} has no value; run it first")
        source = StoredInput(
            key.asset, current.materialization_id, current.io, current.location, None
        )
        value_type = self._definitions.get(target).value_type
        # Decoded as what the asset returns, which the checker cannot see.
        return await self._values.load(source, key.partition, value_type)  # type: ignore[return-value]

    async def results(self, record: RunRecord, *, several: bool | None) -> list[object]:
        """
        Return the values that a run gave for its targets; None for one without a value.

        Args:
            several: Whether its caller asked for a list; None is not known: a list unless there is
                one target.
        """
        outputs = await self._store.outputs(record.run_id, record.targets)
        values: list[object] = []
        for key in record.targets:
            source = outputs.get(key)
            value = None
            if source is not None:
                value_type = self._definitions.get(key.asset).value_type
                value = await self._values.load(source, key.partition, value_type)
            values.append(value)
        if several or (several is None and len(values) != 1):
            return values
        return values[0]  # type: ignore[return-value]  # the handle is typed by its one target
