"""Where values are kept: by the store itself, or by an IO manager that is named."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from flowstone import Dep, FlowStone, Pipeline, Retry, RunFailedError
from flowstone.core.contracts.io_manager import Address, IOManager, Written
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.errors import (
    InvalidOptionError,
    NotRegisteredError,
    NotStoredError,
    StorageError,
)
from flowstone.core.json_value import JsonValue
from flowstone.core.registries import Registries
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, drain, steps
from tests.opaque import Opaque


class Shelf(IOManager):
    """Keeps values where a test can see them, as long as a test lets it."""

    def __init__(self, label: str = "shelf") -> None:
        self.label = label
        self.kept: dict[str, object] = {}
        self.addresses: list[Address] = []
        self.asked: list[str] = []
        self.failures: list[Exception] = []

    async def store(self, address: Address, value: object) -> Written:
        self.addresses.append(address)
        place = f"{address.asset}/{address.partition}/{len(self.addresses)}"
        self.kept[place] = value
        if self.failures:
            raise self.failures.pop(0)
        return Written(location={"place": place}, size_bytes=100)

    async def load(self, location: JsonValue, annotation: object = object) -> object:
        if self.failures:
            raise self.failures.pop(0)
        if not await self.exists(location):
            raise NotStoredError(f"{self.label} has nothing at {location}")
        return self.kept[_place(location)]

    async def exists(self, location: JsonValue) -> bool:
        self.asked.append(_place(location))
        return _place(location) in self.kept

    async def delete(self, location: JsonValue) -> None:
        self.kept.pop(_place(location), None)


def _place(location: JsonValue) -> str:
    assert isinstance(location, dict)
    return str(location["place"])


def pipeline(**options: Any) -> Pipeline:
    p = Pipeline("p")

    @p.asset(**options)
    async def base() -> dict[str, int]:
        return {"value": 1}

    @p.asset
    async def total(base: dict[str, int] = Dep(base)) -> int:
        return sum(base.values())

    return p


async def location_of(app: FlowStone, asset: str) -> JsonValue:
    latest = (await app.status(asset)).latest
    assert latest is not None
    current, _ = await app.store.current([latest.key])
    location: JsonValue = json.loads(current[latest.key].location or "null")
    return location


class TestAManager:
    @pytest.mark.conformance(63)
    async def test_a_value_goes_to_it_and_comes_back(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})

        assert await app.run("total", partition="p1") == 1

        assert list(shelf.kept.values()) == [{"value": 1}]
        assert await app.get("base", partition="p1") == {"value": 1}
        assert await app.exists("base", partition="p1")
        status = await app.status("base", partition="p1")
        assert status.io == "shelf"
        assert status.latest is not None
        assert await app.store.values([status.latest.id]) == {}

    @pytest.mark.conformance(64)
    async def test_a_value_that_was_deleted_there_is_gone(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})
        await app.run("base")
        location = await location_of(app, "base")

        await shelf.delete(location)

        assert not await shelf.exists(location)
        with pytest.raises(NotStoredError, match="shelf has nothing"):
            await app.get("base")

    @pytest.mark.conformance(65)
    async def test_deleting_nothing_is_fine(self, app_of: AppOf) -> None:
        shelf = Shelf()
        await app_of(pipeline(io="shelf"), io={"shelf": shelf})

        await shelf.delete({"place": "nowhere"})

        assert not await shelf.exists({"place": "nowhere"})

    @pytest.mark.conformance(71)
    async def test_rows_say_whether_there_is_a_value_without_asking_it(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})
        assert not await app.exists("base")

        await app.run("base")
        shelf.asked.clear()

        assert await app.exists("base")
        assert shelf.asked == []

    @pytest.mark.conformance(72)
    async def test_facts_that_it_does_not_know_are_refused_by_name(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})
        await app.run("base")

        with pytest.raises(StorageError, match="Shelf does not support metadata"):
            await shelf.metadata(await location_of(app, "base"))
        with pytest.raises(StorageError, match="Shelf does not support list_partitions"):
            await shelf.list_partitions("p.base")

    async def test_every_attempt_has_an_address_of_its_own(self, app_of: AppOf) -> None:
        shelf = Shelf()
        shelf.failures.append(ConnectionError("no answer"))
        p = pipeline(io="shelf", retry=Retry(2, base=0))
        app = await app_of(p, io={"shelf": shelf})

        assert await app.run("base") == {"value": 1}

        first, second = shelf.addresses
        assert (first.asset, first.partition) == ("p.base", "")
        assert first.materialization_id == second.materialization_id
        assert first.claim < second.claim
        assert first.origin == second.origin == await app.store.origin()

    async def test_it_may_leave_the_value_to_the_store(self, app_of: AppOf) -> None:
        class Inline(Shelf):
            async def store(self, address: Address, value: object) -> Written:
                return Written(inline=json.dumps(value))

        app = await app_of(pipeline(io="inline"), io={"inline": Inline()})

        assert await app.run("total") == 1
        assert (await app.status("base")).io is None


class TestTheStoreItself:
    @pytest.mark.conformance(73)
    async def test_a_second_value_takes_the_place_of_the_first(self, app_of: AppOf) -> None:
        p, values = Pipeline("p"), ["first", "second"]
        p.asset(name="it")(lambda: values.pop(0))
        app = await app_of(p)

        await app.run("it", partition="x")
        await app.run("it", partition="x", force=True)

        assert await app.get("it", partition="x") == "second"
        latest = (await app.status("it", partition="x")).latest
        assert latest is not None
        current, _ = await app.store.current([latest.key])
        assert [it.materialization_id for it in current.values()] == [latest.id]


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


class TestFailures:
    @pytest.mark.conformance(117)
    @pytest.mark.parametrize(
        ("error", "is_retried"),
        [
            (ConnectionRefusedError("no database there"), True),
            (TimeoutError("no answer"), True),
            (PermissionError("permission denied"), False),
        ],
        ids=repr,
    )
    async def test_a_manager_that_fails_fails_the_asset_as_storage(
        self, app_of: AppOf, error: Exception, is_retried: bool
    ) -> None:
        shelf = Shelf()
        shelf.failures.append(error)
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})
        handle = await app.enqueue("base")

        await drain(app)

        step = (await steps(app, handle.run_id))["base"]
        record = json.loads(step.error or "")
        assert (record["code"], record["retryable"]) == ("io_error", is_retried)
        assert str(error) in record["message"]
        assert step.status == ("ready" if is_retried else "failed")

    async def test_what_a_plugin_says_of_a_librarys_errors_holds_for_managers(
        self, app_of: AppOf
    ) -> None:
        class Throttled(Exception):
            pass

        class Knows(Plugin):
            name = "knows"

            def register(self, registries: Registries) -> None:
                registries.normalizer.register(
                    Throttled, lambda error: StorageError(f"slower: {error}", retryable=True)
                )

        shelf = Shelf()
        shelf.failures.append(Throttled("429"))
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf}, plugins=[Knows()])
        handle = await app.enqueue("base")

        await drain(app)

        step = (await steps(app, handle.run_id))["base"]
        assert step.status == "ready"
        assert json.loads(step.error or "")["message"] == "slower: 429"

    async def test_a_value_that_cannot_be_loaded_fails_its_reader_alone(
        self, app_of: AppOf
    ) -> None:
        shelf = Shelf()
        p = pipeline(io="shelf")
        p.asset(name="apart")(lambda: "fine")
        app = await app_of(p, io={"shelf": shelf})
        await app.run("base")
        shelf.kept.clear()

        with pytest.raises(RunFailedError, match=r"p\.total: shelf has nothing") as caught:
            await app.run(["total", "apart"])

        assert [failure.asset for failure in caught.value.failures] == ["p.total"]
        assert await app.get("apart") == "fine"

    @pytest.mark.parametrize("location", ["a\0b", "\ud800", Opaque()], ids=ascii)
    async def test_a_location_that_no_row_can_keep_fails_the_asset(
        self, app_of: AppOf, location: Any
    ) -> None:
        class Strange(Shelf):
            async def store(self, address: Address, value: object) -> Written:
                return Written(location=location)

        app = await app_of(pipeline(io="strange"), io={"strange": Strange()})

        with pytest.raises(RunFailedError, match="cannot be stored"):
            await app.run("base")


class TestTelemetry:
    @pytest.mark.conformance(69)
    async def test_storing_and_loading_are_told_in_order(self, app_of: AppOf) -> None:
        app = await app_of(pipeline(io="shelf"), io={"shelf": Shelf()})
        heard = Heard(app, ["io.store.start", "io.store.stop", "io.load.start", "io.load.stop"])

        await app.enqueue("base", partition="p1")
        await drain(app)
        await app.get("base", partition="p1")

        assert heard.names == ["io.store.start", "io.store.stop", "io.load.start", "io.load.stop"]
        expected = {"asset": "p.base", "partition": "p1", "io_manager": "shelf"}
        assert [facts for _, _, facts in heard.events] == [expected] * 4
        ((measured, _),) = heard.of("io.store.stop")
        assert measured["duration"] >= 0
        assert measured["size_bytes"] == 100

    async def test_sizes_are_bytes_of_what_the_store_keeps(self, app_of: AppOf) -> None:
        p = Pipeline("p")
        p.asset(name="large")(lambda: "ü" * 50_000)
        app = await app_of(p)
        heard = Heard(app, ["io.store.stop", "io.load.stop"])

        await app.run("large")

        sizes = [measured["size_bytes"] for _, measured, _ in heard.events]
        assert sizes == [100_002, 100_002]
        assert {facts["io_manager"] for _, _, facts in heard.events} == {"default"}

    @pytest.mark.conformance(76)
    async def test_a_miss_ends_its_span_too(self, app_of: AppOf) -> None:
        shelf = Shelf()
        app = await app_of(pipeline(io="shelf"), io={"shelf": shelf})
        await app.run("base")
        shelf.kept.clear()
        heard = Heard(app)

        with pytest.raises(NotStoredError):
            await app.get("base")

        assert heard.names == ["io.load.start", "io.load.exception"]
        ((measured, facts),) = heard.of("io.load.exception")
        assert measured["duration"] >= 0
        assert isinstance(facts["error"], NotStoredError)
