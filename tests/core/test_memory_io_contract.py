import pytest

from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.defaults.memory_io import MemoryIO
from flowstone.testing.contracts.io_manager_contract import IOManagerContract


class TestMemoryIO(IOManagerContract):
    @pytest.fixture
    async def io(self) -> IOManager:
        return MemoryIO()


class Minimal(IOManager):
    """An IO manager without the optional methods."""

    def __init__(self) -> None:
        self.inner = MemoryIO()

    async def store(self, address, value):
        return await self.inner.store(address, value)

    async def load(self, location, annotation=object):
        return await self.inner.load(location, annotation)

    async def exists(self, location):
        return await self.inner.exists(location)

    async def delete(self, location):
        await self.inner.delete(location)


class TestMinimal(IOManagerContract):
    @pytest.fixture
    async def io(self) -> IOManager:
        return Minimal()


def test_an_incomplete_manager_cannot_be_made() -> None:
    class Incomplete(IOManager):
        async def store(self, address, value): ...

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()
