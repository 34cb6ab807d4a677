"""The IO manager that is named last counts, and so does its configuration."""

from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import Pipeline
from flowstone.core.errors import (
    InvalidOptionError,
    NotRegisteredError,
    NotStoredError,
)
from tests.application.conftest import AppOf
from tests.application.shelf import Shelf, pipeline
from tests.application.stage import Stage, drain
from tests.opaque import Opaque


class TestWhichOne:
    async def test_the_asset_the_pipeline_and_the_call_say_in_rising_order(
        self, app_of: AppOf
    ) -> None:
        p = Pipeline("p", io="pond")
        p.asset(name="by_pipeline")(lambda: 1)
        p.asset(name="by_asset", io="lake")(lambda: 2)
        p.asset(name="by_call", io="lake")(lambda: 3)
        app = await app_of(p, io={name: Shelf(name) for name in ("pond", "lake", "sea")})

        await app.run(["by_pipeline", "by_asset"])
        await app.run("by_call", io="sea")

        names = ("by_pipeline", "by_asset", "by_call")
        assert [(await app.status(name)).io for name in names] == ["pond", "lake", "sea"]
        assert await app.get("by_call") == 3

    async def test_a_call_speaks_of_its_target_only(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(), io={"sea": Shelf()})

        await app.run("total", io="sea")

        assert (await app.status("total")).io == "sea"
        assert (await app.status("base")).io is None

    async def test_a_worker_elsewhere_stores_where_the_call_said(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app, worker = [await app_of(pipeline(), io={"sea": shelf}) for _ in range(2)]
        handle = await app.enqueue("base", io="sea")

        await drain(worker)

        assert await handle.result() == {"value": 1}
        assert list(shelf.kept.values()) == [{"value": 1}]

    async def test_what_is_asked_for_can_be_narrowed_to_one(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(), io={"sea": Shelf()})
        await app.run("base", io="sea")

        assert await app.exists("base", io="sea")
        assert await app.get("base", io="sea") == {"value": 1}
        assert not await app.exists("base", io="default")
        with pytest.raises(NotStoredError):
            await app.get("base", io="default")

    async def test_a_manager_named_default_takes_the_place_of_the_store(
        self, app_of: AppOf
    ) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(), io={"default": shelf})

        assert await app.run("total") == 1

        assert list(shelf.kept.values()) == [{"value": 1}, 1]

    @pytest.mark.conformance(505)
    async def test_a_class_with_its_configuration_will_do(self, app_of: AppOf) -> None:
        io: Mapping[str, Any] = {"bare": Shelf, "pair": (Shelf, {"label": "the pair's"})}
        app = await app_of(pipeline(io="pair"), io=io)

        assert await app.run("total", io="bare") == 1

        assert await app.get("base") == {"value": 1}

    @pytest.mark.conformance(70)
    async def test_an_unknown_one_is_named_with_those_there_are(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(), io={"lake": Shelf()})

        for ask in ("run", "enqueue", "plan", "get", "exists", "invalidate"):
            with pytest.raises(NotRegisteredError, match=r"'lak'.*Did you mean 'lake'") as caught:
                await getattr(app, ask)("base", io="lak")
            assert caught.value.known == ("lake",)

        assert await app.store.runs() == []

    async def test_an_asset_that_names_an_unknown_one_is_refused_with_its_application(
        self, stage: Stage
    ) -> None:
        with pytest.raises(NotRegisteredError, match="no IO manager is registered as 'lake'"):
            stage.build(pipeline(io="lake"))

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({}, "missing a required argument: 'label'; it was given none, and takes label, size"),
            ({"label": "a", "sise": 2}, "got an unexpected keyword argument 'sise'; it was given "),
        ],
    )
    async def test_one_that_could_never_be_made_is_refused_with_the_application(
        self, stage: Stage, config: Mapping[str, object], said: str
    ) -> None:
        def shelf(label: str, size: int = 1) -> Shelf:
            raise AssertionError("none is made")

        with pytest.raises(InvalidOptionError, match="IO manager 'lake': ") as caught:
            stage.build(pipeline(io="lake"), io={"lake": (shelf, config)})

        assert said in str(caught.value)

    async def test_its_name_may_have_any_character(self, app_of: AppOf) -> None:
        name = "la'ke\"; DROP TABLE flowstone_runs; -- %s {} $1 ü"
        app = await app_of(pipeline(), io={name: Shelf()})
        handle = await app.enqueue("total", io=name)

        await drain(app)

        assert await handle.result() == 1
        assert (await app.status("total")).io == name
        assert await app.invalidate("total", io=name) == 1

    async def test_a_value_of_a_manager_that_is_no_longer_there_cannot_be_read(
        self, app_of: AppOf
    ) -> None:
        await (await app_of(pipeline(), io={"lake": Shelf()})).run("base", io="lake")
        app = await app_of(pipeline())

        assert await app.exists("base")
        with pytest.raises(NotRegisteredError, match="lake"):
            await app.get("base")


class TestWithItsOwnConfiguration:
    """``io=("name", {...})``: fields laid over what the name is registered with."""

    async def test_every_level_may_give_one_and_a_worker_elsewhere_uses_it(
        self, app_of: AppOf
    ) -> None:
        shelves: list[Shelf] = []

        def shelf(label: str, size: int = 1) -> Shelf:
            shelves.append(Shelf(f"{label} of {size}"))
            return shelves[-1]

        p = Pipeline("p", io=("shelf", {"size": 2}))
        p.asset(name="by_pipeline")(lambda: 1)
        p.asset(name="by_asset", io=("shelf", {"label": "mine"}))(lambda: 2)
        p.asset(name="by_call")(lambda: 3)
        app, worker = [await app_of(p, io={"shelf": (shelf, {"label": "a"})}) for _ in range(2)]
        choice = ("shelf", {"size": 4, "label": "called"})
        await app.enqueue_many(["by_pipeline", "by_asset"])
        await app.enqueue("by_call", io=choice)

        await drain(worker)

        assert {it.label: list(it.kept.values()) for it in shelves if it.kept} == {
            "a of 2": [1],
            "mine of 1": [2],
            "called of 4": [3],
        }
        status = await app.status("by_call")
        assert status.io == 'shelf {"label":"called","size":4}'
        assert await app.exists("by_call", io=choice)
        assert not await app.exists("by_call", io="shelf")
        assert await app.invalidate("by_call", io="shelf") == 0
        assert await app.invalidate("by_call", io=choice) == 1

    async def test_the_value_is_loaded_with_the_configuration_it_was_stored_with(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(pipeline(io=("shelf", {"label": "lower"})), io={"shelf": Shelf})

        assert await app.run("total") == 1

        assert await app.get("base", io=("shelf", {"label": "lower"})) == {"value": 1}

    async def test_a_value_that_is_kept_elsewhere_is_not_what_is_asked_for(
        self, app_of: AppOf
    ) -> None:
        app = await app_of(pipeline(), io={"shelf": Shelf})
        await app.run("base", io=("shelf", {"label": "x"}))

        (same,) = await app.plan("base", io='shelf { "label" : "x" }')
        (other,) = await app.plan("base", io=("shelf", {"label": "y"}))

        assert same.action == "reuse"
        assert other.reason == """kept in shelf {"label":"x"}, wanted in shelf {"label":"y"}"""

    @pytest.mark.parametrize(
        ("io", "message"),
        [
            (("shelf", {"colour": 1}), "refused its options .*colour"),
            (("shelf", {"label": Opaque()}), "must be JSON"),
            (("default", {"label": "x"}), "the store itself takes no configuration"),
            (("box", {"label": "x"}), "registered as an instance"),
        ],
        ids=str,
    )
    async def test_one_that_cannot_be_used_is_refused_before_anything_is_written(
        self, app_of: AppOf, io: Any, message: str
    ) -> None:
        app = await app_of(pipeline(), io={"shelf": Shelf, "box": Shelf()})

        with pytest.raises(InvalidOptionError, match=message):
            await app.enqueue("base", io=io)

        assert await app.store.runs() == []

    async def test_an_asset_says_so_with_its_application(self, stage: Stage) -> None:
        with pytest.raises(InvalidOptionError, match="refused its options"):
            stage.build(pipeline(io=("shelf", {"colour": 1})), io={"shelf": Shelf})
