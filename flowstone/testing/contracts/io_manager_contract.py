"""What every IO manager has to do."""

import asyncio
import json
from dataclasses import replace

import pytest

from flowstone.core.contracts.codec import JsonValue
from flowstone.core.contracts.io_manager import Address, IOManager, Written
from flowstone.core.errors import NotStoredError, StorageError, ValueNotStorableError
from flowstone.testing.conformance import answers
from flowstone.testing.contracts.io_sweep_contract import IOSweepContract

ADDRESS = Address("sales.report", "d:2024-01-01", 7, 1, origin="3f2a")


class IOManagerContract(IOSweepContract):
    """
    Subclass it with the fixture ``io``.

    A manager that only keeps certain types overrides `value` and `other_value`, and the tests of
    values that it cannot keep.
    """

    value: object = {"value": 1}
    other_value: object = [1, "zwei", None]
    annotation: object = object

    @pytest.fixture
    async def io(self) -> IOManager:
        """Give the manager, with nothing stored."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `io`")

    async def stored(self, io: IOManager, address: Address, value: object) -> JsonValue:
        """
        Store a value and return its location.

        A manager whose value is inline has it kept by the engine; its suite overrides this to do
        what the engine does.
        """
        written = await io.store(address, value)
        assert written.inline is None, "override `stored` to keep what is inline"
        return written.location

    @answers(63)
    async def test_what_is_stored_is_there_and_comes_back(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, self.value)

        assert await io.load(location, self.annotation) == self.value
        assert await io.exists(location)

    async def test_the_location_is_json(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, self.value)

        again = json.loads(json.dumps(location, allow_nan=False))
        assert await io.load(again, self.annotation) == self.value

    async def test_storing_tells_what_the_engine_commits(self, io: IOManager) -> None:
        written = await io.store(ADDRESS, self.value)

        assert isinstance(written, Written)
        assert written.size_bytes is None or written.size_bytes > 0

    async def test_none_is_a_value(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, None)

        assert await io.exists(location)
        assert await io.load(location, object) is None

    @answers(64)
    async def test_what_was_deleted_is_gone(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, self.value)

        await io.delete(location)

        assert not await io.exists(location)
        with pytest.raises(NotStoredError):
            await io.load(location, self.annotation)

    @answers(65)
    async def test_deleting_what_is_not_there_is_fine(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, self.value)
        await io.delete(location)

        await io.delete(location)

        assert not await io.exists(location)

    async def test_another_attempt_overwrites_nothing(self, io: IOManager) -> None:
        first = await self.stored(io, ADDRESS, self.value)

        second = await self.stored(io, replace(ADDRESS, claim=2), self.other_value)

        assert await io.load(first, self.annotation) == self.value
        assert await io.load(second, self.annotation) == self.other_value

    @pytest.mark.parametrize(
        "other",
        [
            replace(ADDRESS, asset="sales.other"),
            replace(ADDRESS, asset="sales/report"),
            replace(ADDRESS, partition=""),
            replace(ADDRESS, partition="d:2024-01-01/7"),
            replace(ADDRESS, partition="s:../../x"),
            replace(ADDRESS, partition="ü 'quoted\" %00 \\ {} $1"),
            replace(ADDRESS, materialization_id=71),
            replace(ADDRESS, origin="3f2b"),
        ],
        ids=repr,
    )
    async def test_two_addresses_never_share_a_place(self, io: IOManager, other: Address) -> None:
        first = await self.stored(io, ADDRESS, self.value)
        second = await self.stored(io, other, self.other_value)

        await io.delete(second)

        assert await io.load(first, self.annotation) == self.value

    async def test_storing_again_at_one_address_replaces(self, io: IOManager) -> None:
        await self.stored(io, ADDRESS, self.value)
        location = await self.stored(io, ADDRESS, self.other_value)

        assert await io.load(location, self.annotation) == self.other_value

    async def test_a_loaded_value_is_nobody_elses(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, {"items": [1]})
        value = await io.load(location, object)
        assert isinstance(value, dict)

        value["items"].append(2)

        assert await io.load(location, object) == {"items": [1]}

    async def test_calls_at_once_do_not_mix(self, io: IOManager) -> None:
        addresses = [replace(ADDRESS, materialization_id=number) for number in range(20)]

        locations = await asyncio.gather(*(self.stored(io, a, self.value) for a in addresses))

        loaded = await asyncio.gather(*(io.load(one, self.annotation) for one in locations))
        assert loaded == [self.value] * 20

    async def test_a_value_that_cannot_be_kept_is_refused(self, io: IOManager) -> None:
        with pytest.raises(ValueNotStorableError):
            await io.store(ADDRESS, object())

    @answers(72)
    async def test_partitions_are_listed_or_said_to_be_unsupported(self, io: IOManager) -> None:
        await self.stored(io, replace(ADDRESS, partition="b"), self.value)
        await self.stored(io, replace(ADDRESS, partition="a"), self.value)
        await self.stored(io, replace(ADDRESS, asset="sales.other", partition="c"), self.value)

        try:
            partitions = await io.list_partitions("sales.report")
        except StorageError as error:
            assert "not support" in str(error)  # noqa: PT017 - one of two right answers
        else:
            assert partitions == ["a", "b"]

    @answers(72)
    async def test_metadata_is_json_or_said_to_be_unsupported(self, io: IOManager) -> None:
        location = await self.stored(io, ADDRESS, self.value)

        try:
            metadata = await io.metadata(location)
        except StorageError as error:
            assert "not support" in str(error)  # noqa: PT017 - one of two right answers
        else:
            json.dumps(dict(metadata), allow_nan=False)
