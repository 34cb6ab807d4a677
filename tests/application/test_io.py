"""Where values are kept: by the store itself, or by an IO manager."""

import json
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline, Retry, RunFailedError
from flowstone.core.contracts.io_manager import Address, Written
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.errors import (
    NotStoredError,
    StorageError,
)
from flowstone.core.json_value import JsonValue
from flowstone.core.registries import Registries
from tests.application.conftest import AppOf
from tests.application.shelf import Shelf, pipeline
from tests.application.stage import Heard, drain, steps
from tests.opaque import Opaque


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
