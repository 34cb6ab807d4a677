import pytest

from flowstone.core.contracts.resource import Health, Resource
from flowstone.testing.contracts.resource_contract import ResourceContract


class Connection:
    def __init__(self, url: str) -> None:
        self.url = url
        self.is_open = True


class Shop(Resource[Connection]):
    async def setup(self, config) -> Connection:
        if config["url"] == "refused":
            raise ConnectionRefusedError
        return Connection(config["url"])

    async def teardown(self, resource: Connection) -> None:
        resource.is_open = False

    async def health_check(self, resource: Connection) -> Health:
        return Health.healthy() if resource.is_open else Health.unhealthy("it is closed")


class Constant(Resource[int]):
    async def setup(self, config) -> int:
        return 42


class TestShop(ResourceContract):
    @pytest.fixture
    def resource(self) -> Resource[Connection]:
        return Shop()

    @pytest.fixture
    def config(self) -> dict[str, object]:
        return {"url": "shop"}

    @pytest.fixture
    def broken_config(self) -> dict[str, object]:
        return {"url": "refused"}

    async def test_what_was_ended_is_unhealthy(self, resource, config) -> None:
        value = await resource.setup(config)

        await resource.teardown(value)

        assert await resource.health_check(value) == Health.unhealthy("it is closed")


class TestDefaultBodies(ResourceContract):
    @pytest.fixture
    def resource(self) -> Resource[int]:
        return Constant()
