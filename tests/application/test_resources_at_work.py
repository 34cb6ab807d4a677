"""Resources while assets run: given by type, shared, ended, replaced, and missing."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import Context, FlowStone, Pipeline, Requires
from flowstone.core.contracts.resource import Resource
from flowstone.core.errors import DefinitionError
from flowstone.core.resources import Env
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, drain, statuses, steps


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name


class Http:
    """A second type, which nobody has to configure."""


class Opens(Resource[Shop]):
    def __init__(self) -> None:
        self.told: list[str] = []

    async def setup(self, config: Mapping[str, Any]) -> Shop:
        self.told.append("setup")
        return Shop(str(config.get("name", "corner shop")))

    async def teardown(self, resource: Shop) -> None:
        self.told.append(f"teardown {resource.name}")


class Broken(Resource[Http]):
    async def setup(self, config: Mapping[str, Any]) -> Http:
        raise ConnectionRefusedError("connection refused")


def shop_alone() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def stock(shop: Shop = Requires(Shop)) -> str:
        return shop.name

    @p.asset
    def asked(ctx: Context) -> str:
        return ctx.resource(Shop).name

    return p


def pipeline() -> Pipeline:
    p = shop_alone()

    @p.asset
    async def page(http: Http = Requires(Http)) -> str:
        return "a page"

    return p


def asks_late(ctx: Context) -> str:
    return type(ctx.resource(Http)).__name__


async def record_of(app: FlowStone, run_id: int, name: str) -> Mapping[str, Any]:
    found: dict[str, Any] = json.loads((await steps(app, run_id))[name].error or "{}")
    return found


class TestGiven:
    @pytest.mark.conformance(83)
    async def test_an_asset_gets_what_it_requires(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(), resources={Shop: Opens(), Http: Broken()})

        assert await app.run(["stock", "asked"]) == ["corner shop", "corner shop"]

    async def test_one_value_serves_all_and_ends_with_the_application(self, stage: Stage) -> None:
        shop = Opens()
        async with stage.build(shop_alone(), resources={Shop: (shop, {"name": "mine"})}) as app:
            await app.run("stock", partition="a")
            await app.run("stock", partition="b")
            assert shop.told == ["setup"]

        assert shop.told == ["setup", "teardown mine"]

    @pytest.mark.conformance(90)
    async def test_its_configuration_may_come_from_the_environment(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_NAME", "from outside")
        app = await app_of(shop_alone(), resources={Shop: (Opens, {"name": Env("SHOP_NAME")})})

        assert await app.run("stock") == "from outside"


class TestMissing:
    @pytest.mark.conformance(87, 88)
    async def test_a_failed_set_up_harms_only_those_who_need_it(
        self, stage: Stage, app_of: AppOf
    ) -> None:
        app = stage.build(pipeline(), resources={Http: Broken(), Shop: Opens()})
        heard = Heard(app, ["resources.setup_failed"])
        async with app:
            handle = await app.enqueue_many(["stock", "page"])
            await drain(app)

            assert [failed.kind for failed in app.resources.list_failed()] == [Http]
            assert await app.get("stock") == "corner shop"
            # Perhaps it is there when the process starts anew, so it is tried again later.
            assert await statuses(app, handle.run_id) == {"stock": "succeeded", "page": "ready"}
            record = await record_of(app, handle.run_id, "page")
            assert record["code"] == "resource_unavailable"
            assert "connection refused" in record["message"]
        ((_, facts),) = heard.of("resources.setup_failed")
        assert facts["name"] == "Http"

    async def test_an_asset_that_requires_one_is_refused_when_the_application_is_built(
        self, stage: Stage
    ) -> None:
        with pytest.raises(DefinitionError, match="requires a resource"):
            stage.build(pipeline(), resources={Shop: Opens()})

    async def test_what_is_asked_for_late_fails_by_name_and_is_not_tried_again(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p")
        p.asset(name="late")(asks_late)
        app = await app_of(p, resources={Shop: Opens()})
        handle = await app.enqueue("late")
        await drain(app)

        assert await statuses(app, handle.run_id) == {"late": "failed"}
        record = await record_of(app, handle.run_id, "late")
        assert record["code"] == "not_registered"
        assert "no resource is registered as 'Http'. Known: Shop" in record["message"]

    @pytest.mark.conformance(84)
    async def test_without_resources_others_run(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        p.asset(name="late")(asks_late)
        p.asset(name="apart")(lambda: 1)
        app = await app_of(p)

        assert await app.run("apart") == 1


class TestReplaced:
    @pytest.mark.conformance(86, 92)
    async def test_an_override_holds_at_once_and_until_it_is_left(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(), resources={Shop: Opens(), Http: Broken()})

        with app.resources.override({Shop: Shop("a stand-in"), Http: Http()}):
            assert await app.run(["stock", "page"]) == ["a stand-in", "a page"]
            assert app.resources.list_failed() == []

        assert await app.run("stock", force=True) == "corner shop"
