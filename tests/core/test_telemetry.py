import asyncio

import pytest

from flowstone.core.errors import AlreadyRegisteredError, NotRegisteredError
from flowstone.core.telemetry import Telemetry, listens
from flowstone.core.telemetry_catalogue import EVENTS, Catalogue, EventSpec


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def heard(telemetry) -> list[tuple[str, dict[str, float], dict[str, object]]]:
    events: list[tuple[str, dict[str, float], dict[str, object]]] = []
    telemetry.attach(lambda name, numbers, facts: events.append((name, dict(numbers), dict(facts))))
    return events


class TestExecuting:
    def test_a_handler_gets_the_prefixed_name_numbers_and_facts(self, telemetry, heard) -> None:
        telemetry.execute("error", {"count": 1}, {"type": "execution_error"})

        assert heard == [("flowstone.error", {"count": 1}, {"type": "execution_error"})]

    def test_a_handler_that_fails_harms_nobody(self, telemetry, caplog) -> None:
        heard = []

        def fail(*event: object) -> None:
            raise ValueError("broken handler")

        telemetry.attach(fail)
        telemetry.attach(lambda *event: heard.append(event))

        telemetry.execute("error", {}, {})

        assert len(heard) == 1
        assert "broken handler" in caplog.text

    def test_an_event_that_is_not_in_the_catalogue_is_an_error(self, telemetry) -> None:
        with pytest.raises(NotRegisteredError, match=r"materialization\.start"):
            telemetry.execute("materialisation.start", {}, {})


class TestListening:
    def test_only_to_named_events_with_or_without_the_prefix(self, telemetry) -> None:
        heard = []
        telemetry.attach(lambda name, *_: heard.append(name), ["rescue", "flowstone.run.stop"])

        for event in ("rescue", "run.start", "run.stop"):
            telemetry.execute(event, {}, {})

        assert heard == ["flowstone.rescue", "flowstone.run.stop"]

    def test_to_an_unknown_event_is_an_error(self, telemetry) -> None:
        with pytest.raises(NotRegisteredError):
            telemetry.attach(print, ["io.load"])

    def test_until_detached(self, telemetry) -> None:
        heard = []
        detach = telemetry.attach(lambda *event: heard.append(event))
        telemetry.execute("rescue", {}, {})

        detach()
        detach()
        telemetry.execute("rescue", {}, {})

        assert len(heard) == 1

    def test_detaching_one_of_two_equal_handlers_keeps_the_other(self, telemetry) -> None:
        heard = []
        handler = heard.append

        def twice(*event: object) -> None:
            handler(event)

        first = telemetry.attach(twice)
        telemetry.attach(twice)

        first()
        telemetry.execute("rescue", {}, {})

        assert len(heard) == 1

    def test_enabled_says_whether_anybody_does(self, telemetry) -> None:
        assert not telemetry.enabled("rescue")

        detach = telemetry.attach(print, ["rescue", "io.load.stop"])

        assert telemetry.enabled("rescue")
        assert telemetry.enabled("io.load")
        assert not telemetry.enabled("io.store")
        assert listens(telemetry, "rescue")
        detach()
        assert not telemetry.enabled("rescue")

    def test_an_emitter_that_cannot_tell_is_taken_to_listen(self) -> None:
        class Foreign:
            def execute(self, event, measurements, metadata) -> None: ...

            def span(self, event, metadata) -> None: ...

        assert listens(Foreign(), "rescue")


class TestSpans:
    @pytest.mark.conformance(510)
    def test_start_and_stop_are_told_around_the_block(self, telemetry, heard) -> None:
        with telemetry.span("io.load", {"asset": "p.a"}) as measurements:
            measurements["size_bytes"] = 3

        (start, began, facts), (stop, took, _) = heard
        assert (start, stop) == ("flowstone.io.load.start", "flowstone.io.load.stop")
        assert facts == {"asset": "p.a"}
        assert began["system_time"] > 0
        assert took["duration"] >= 0
        assert took["size_bytes"] == 3

    @pytest.mark.conformance(511)
    def test_an_exception_is_told_and_goes_on(self, telemetry, heard) -> None:
        error = ValueError("boom")

        with (
            pytest.raises(ValueError, match="boom") as caught,
            telemetry.span("materialization", {"asset": "p.a"}),
        ):
            raise error

        assert caught.value is error
        assert [name for name, *_ in heard] == [
            "flowstone.materialization.start",
            "flowstone.materialization.exception",
        ]
        assert heard[1][1]["duration"] >= 0
        assert heard[1][2] == {"asset": "p.a", "error": error}

    async def test_a_cancelled_block_is_told_too(self, telemetry, heard) -> None:
        started = asyncio.Event()

        async def work() -> None:
            with telemetry.span("io.store", {}):
                started.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert heard[-1][0] == "flowstone.io.store.exception"


class TestTheCatalogue:
    def test_every_event_is_described_and_listed_once(self) -> None:
        assert all(spec.description for spec in EVENTS)
        assert len({spec.name for spec in EVENTS}) == len(EVENTS)

    def test_a_plugin_adds_events_to_one_application_only(self) -> None:
        mine, other = Telemetry(Catalogue()), Telemetry(Catalogue())
        heard = []
        mine.attach(lambda name, *_: heard.append(name))

        mine.catalogue.add(EventSpec("scatter.start", ("count",), ("barrier_id",), "A barrier"))
        mine.execute("scatter.start", {}, {})

        assert heard == ["flowstone.scatter.start"]
        with pytest.raises(NotRegisteredError):
            other.execute("scatter.start", {}, {})

    def test_a_name_is_taken_once(self) -> None:
        with pytest.raises(AlreadyRegisteredError):
            Catalogue().add(EventSpec("rescue", (), (), "again"))
