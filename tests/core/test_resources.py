import asyncio
import logging

import pytest

from flowstone.core.contracts.resource import Health, Resource
from flowstone.core.errors import (
    IncompatiblePluginError,
    InvalidOptionError,
    NotRegisteredError,
    ResourceUnavailableError,
)
from flowstone.core.resources import Env, Resources
from flowstone.core.telemetry import Telemetry

ended: list[object] = []


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    ended.clear()


class Shop(str):
    __slots__ = ()


class Http(str):
    __slots__ = ()


class Opened(Resource[object]):
    def __init__(self, value: object = "value") -> None:
        self.value = value
        self.config: dict[str, object] = {}

    async def setup(self, config) -> object:
        self.config = dict(config)
        return self.value

    async def teardown(self, resource) -> None:
        ended.append(resource)


class Broken(Resource[object]):
    async def setup(self, config) -> object:
        raise ConnectionRefusedError("connection refused")


class TestGetting:
    @pytest.mark.conformance(85)
    async def test_a_resource_that_was_set_up_is_given_by_its_type(self) -> None:
        resources = Resources({int: Opened(42)})

        await resources.open()

        assert resources.get(int) == 42

    @pytest.mark.conformance(89)
    async def test_a_type_that_is_not_configured_is_refused_with_what_is(self) -> None:
        resources = Resources({Shop: Opened()})

        with pytest.raises(NotRegisteredError) as caught:
            resources.get(Http)

        assert (caught.value.name, caught.value.known) == ("Http", ("Shop",))

    @pytest.mark.conformance(84)
    async def test_before_opening_there_is_nothing(self) -> None:
        with pytest.raises(ResourceUnavailableError, match="open the application"):
            Resources({Shop: Opened()}).get(Shop)

    async def test_none_is_a_value(self) -> None:
        resources = Resources({Shop: Opened(None)})

        await resources.open()

        assert resources.get(Shop) is None


class TestAFailedSetUp:
    @pytest.mark.conformance(87)
    async def test_it_harms_only_itself(self) -> None:
        resources = Resources({int: Opened(100), Shop: Broken()})

        await resources.open()

        assert resources.get(int) == 100
        with pytest.raises(ResourceUnavailableError, match="connection refused") as caught:
            resources.get(Shop)
        assert caught.value.retryable
        assert [("Shop", Shop)] == [(f.name, f.kind) for f in resources.list_failed()]

    @pytest.mark.conformance(88)
    async def test_it_is_told_and_logged(self, caplog) -> None:
        telemetry, heard = Telemetry(), []
        telemetry.attach(lambda *event: heard.append(event))

        with caplog.at_level(logging.ERROR):
            await Resources({Shop: Broken()}, telemetry=telemetry).open()

        name, measurements, metadata = heard[0]
        assert (name, measurements) == ("flowstone.resources.setup_failed", {})
        assert metadata["name"] == "Shop"
        assert "connection refused" in metadata["reason"]
        assert "Shop could not be set up" in caplog.text

    async def test_opening_again_tries_again(self) -> None:
        class Second(Broken):
            calls = 0

            async def setup(self, config) -> object:
                Second.calls += 1
                return await super().setup(config) if Second.calls == 1 else "there"

        resources = Resources({Shop: Second(), int: Opened(1)})
        await resources.open()

        await resources.open()

        assert resources.get(Shop) == "there"
        assert resources.list_failed() == []


class TestOverriding:
    @pytest.mark.conformance(86)
    async def test_it_takes_effect_at_once(self) -> None:
        resources = Resources({Shop: Opened("real")})
        await resources.open()

        resources.override({Shop: "fake"})

        assert resources.get(Shop) == "fake"

    @pytest.mark.conformance(92)
    async def test_it_forgets_failures(self) -> None:
        resources = Resources({Shop: Broken()})
        await resources.open()

        resources.override({int: 1})

        assert resources.list_failed() == []
        with pytest.raises(NotRegisteredError):
            resources.get(Shop)

    async def test_leaving_it_brings_back_what_was_there(self) -> None:
        resources = Resources({Shop: Opened("real"), Http: Broken()})
        await resources.open()

        with resources.override({Shop: "fake"}), resources.override({Shop: "other"}):
            assert resources.get(Shop) == "other"

        assert resources.get(Shop) == "real"
        assert len(resources.list_failed()) == 1

    async def test_only_what_was_set_up_is_ended(self) -> None:
        resources = Resources({Shop: Opened("real")})
        await resources.open()

        with resources.override({Shop: "fake"}):
            await resources.close()

        assert ended == ["real"]
        with pytest.raises(ResourceUnavailableError):
            resources.get(Shop)

    def test_no_application_is_needed(self) -> None:
        with (resources := Resources()).override({Shop: "fake"}):
            assert resources.get(Shop) == "fake"


class TestClosing:
    async def test_the_last_is_ended_first_and_each_once(self) -> None:
        resources = Resources({int: Opened("a"), str: Opened("b"), float: Opened("c")})
        await resources.open()

        await resources.close()
        await resources.close()

        assert ended == ["c", "b", "a"]

    async def test_one_that_cannot_be_ended_does_not_keep_the_others(self, caplog) -> None:
        class Stuck(Opened):
            async def teardown(self, resource) -> None:
                raise RuntimeError("stuck")

        resources = Resources({int: Opened("a"), str: Stuck("b")})
        await resources.open()

        await resources.close()

        assert ended == ["a"]
        assert "stuck" in caplog.text

    async def test_what_failed_is_not_ended(self) -> None:
        resources = Resources({Shop: Broken()})
        await resources.open()

        await resources.close()

        assert ended == []

    async def test_opening_that_is_cancelled_ends_what_it_had_set_up(self) -> None:
        started = asyncio.Event()

        class Endless(Opened):
            async def setup(self, config) -> object:
                started.set()
                await asyncio.Event().wait()

        resources = Resources({int: Opened("a"), str: Endless()})
        opening = asyncio.create_task(resources.open())
        await started.wait()

        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        assert ended == ["a"]


class TestConfiguration:
    @pytest.mark.conformance(90)
    async def test_a_placeholder_is_the_environments_value(self) -> None:
        opened = Opened()
        config = {"url": Env("X"), "deep": {"list": [Env("X"), 1]}, "other": Env("Y", "default")}

        await Resources({Shop: (opened, config)}, environ={"X": "v"}).open()

        assert opened.config == {"url": "v", "deep": {"list": ["v", 1]}, "other": "default"}

    async def test_a_variable_that_is_not_set_fails_the_resource_by_its_name(self) -> None:
        resources = Resources({Shop: (Opened(), {"url": Env("SHOP_URL")})}, environ={})

        await resources.open()

        with pytest.raises(ResourceUnavailableError, match="SHOP_URL is not set"):
            resources.get(Shop)

    async def test_a_class_is_as_good_as_an_instance(self) -> None:
        resources = Resources({Shop: Opened})

        await resources.open()

        assert resources.get(Shop) == "value"

    @pytest.mark.parametrize("entry", [object(), (Opened(), 3), (Opened(), {}, {}), dict])
    def test_what_is_no_resource_is_refused_without_showing_its_configuration(self, entry) -> None:
        with pytest.raises(InvalidOptionError, match="resources"):
            Resources({Shop: entry})

    def test_a_resource_of_another_contract_is_refused(self) -> None:
        class Old(Opened):
            contract_version = "0.9.0"

        with pytest.raises(IncompatiblePluginError, match="Shop"):
            Resources({Shop: Old()})


async def test_health_is_asked_of_all_and_an_exception_is_unhealthy() -> None:
    class Ill(Opened):
        async def health_check(self, resource) -> Health:
            raise OSError("disk is gone")

    resources = Resources({int: Opened(), str: Ill(), Shop: Broken()})
    await resources.open()

    health = await resources.health()

    assert health[int] == Health.healthy()
    assert "disk is gone" in (health[str].reason or "")
    assert "connection refused" in (health[Shop].reason or "")
    assert [state.is_healthy for state in health.values()] == [True, False, False]
