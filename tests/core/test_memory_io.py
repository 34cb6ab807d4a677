import pytest

from flowstone.core.contracts.io_manager import Address
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.core.errors import NotStoredError

ADDRESS = Address("p.a", "", 1, 1, "here")


async def test_facts_are_known_about_what_is_there_only() -> None:
    io = MemoryIO()
    written = await io.store(ADDRESS, "ü")

    assert await io.metadata(written.location) == {"size_bytes": 4}
    assert written.size_bytes == 4
    with pytest.raises(NotStoredError):
        await io.metadata(["p.a", "", 1, 2])


@pytest.mark.parametrize("location", [None, "x", [], ["p.a", "", "1", 1], {"a": 1}])
async def test_a_location_of_another_manager_is_nowhere(location) -> None:
    io = MemoryIO()
    await io.store(ADDRESS, 1)

    assert not await io.exists(location)
    await io.delete(location)
    with pytest.raises(NotStoredError):
        await io.load(location)


async def test_two_managers_share_nothing() -> None:
    mine, other = MemoryIO(), MemoryIO()

    written = await mine.store(ADDRESS, 1)

    assert not await other.exists(written.location)
