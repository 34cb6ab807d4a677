"""What every resource has to do."""

from collections.abc import Mapping
from typing import Any

import pytest

from flowstone.core.contracts.resource import Health, Resource


class ResourceContract:
    """
    Subclass it with the fixture ``resource``; with ``config`` when it needs one to work here, and
    with ``broken_config``, with which set-up has to fail, when there is such a thing.
    """

    @pytest.fixture
    def config(self) -> Mapping[str, object]:
        """Give a configuration that works."""
        return {}

    @pytest.fixture
    def broken_config(self) -> Mapping[str, object] | None:
        """Give a configuration that cannot work; None says that there is none."""
        return None

    @pytest.fixture
    def resource(self) -> Resource[Any]:
        """Give the resource, not yet set up."""
        raise NotImplementedError(f"{type(self).__name__} has to define the fixture `resource`")

    async def test_it_is_set_up_healthy_and_ended(
        self, resource: Resource[Any], config: Mapping[str, object]
    ) -> None:
        value = await resource.setup(config)

        assert await resource.health_check(value) == Health.healthy()
        await resource.teardown(value)

    async def test_two_set_ups_are_independent(
        self, resource: Resource[Any], config: Mapping[str, object]
    ) -> None:
        first = await resource.setup(config)
        second = await resource.setup(config)

        await resource.teardown(first)

        assert (await resource.health_check(second)).is_healthy
        await resource.teardown(second)

    async def test_setting_up_leaves_the_configuration_alone(
        self, resource: Resource[Any], config: Mapping[str, object]
    ) -> None:
        given = dict(config)

        await resource.teardown(await resource.setup(given))

        assert given == dict(config)

    async def test_a_set_up_that_cannot_work_raises(
        self, resource: Resource[Any], broken_config: Mapping[str, object] | None
    ) -> None:
        if broken_config is None:
            pytest.skip("no configuration can make it fail")
        with pytest.raises(Exception):  # noqa: B017, PT011 - of whatever kind
            await resource.setup(broken_config)
