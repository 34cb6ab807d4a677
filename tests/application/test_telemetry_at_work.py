"""What is told while assets run, in which order, and with which facts."""

import ast
import asyncio
import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import flowstone
from flowstone import Dep, FlowStone, Pipeline, Retry, RunFailedError, Skip, reader
from flowstone.core import pruning
from flowstone.core.contracts.error_normalizer import ErrorNormalizer
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.resource import Resource
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.store import Capacity, Key, Reconciled, Settlement, WorkerInfo
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import AssetFunctionError, NotRegisteredError
from flowstone.core.interventions import reconcile
from flowstone.core.item_reading import ItemReading
from flowstone.core.registries import in_memory
from flowstone.core.status import Event
from flowstone.core.telemetry import Telemetry
from flowstone.core.telemetry_catalogue import EVENTS
from flowstone.core.worker_options import WorkerOptions
from tests.application.conftest import AppOf
from tests.application.stage import Heard, Stage, drain, eventually, newest_run, working
from tests.application.test_held_loop import hold_until, is_watched
from tests.plugins.conftest import registries_of_plugins

SOURCES = Path(flowstone.__file__).parent
ATTEMPT = ["materialization.start", "materialization.stop", "materialization.exception", "error"]


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def fine() -> int:
        return 1

    @p.asset
    async def failing(fine: int = Dep(fine)) -> int:
        raise ValueError("no")

    @p.asset
    async def skipped() -> Skip:
        return Skip()

    return p


class TestAttempts:
    @pytest.mark.conformance(100)
    async def test_a_success_is_a_start_and_then_a_stop(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        heard = Heard(app, ATTEMPT)

        await app.run("fine", partition="x")

        run_id = (await newest_run(app)).run_id
        facts = {"asset": "p.fine", "partition": "x", "run_id": run_id}
        assert heard.names == ["materialization.start", "materialization.stop"]
        assert [metadata for _, _, metadata in heard.events] == [facts, facts]
        ((started, _),) = heard.of("materialization.start")
        ((stopped, _),) = heard.of("materialization.stop")
        assert started["system_time"] > 0
        assert stopped["duration"] >= 0

    @pytest.mark.conformance(101, 106)
    async def test_a_failure_is_an_exception_and_one_error_and_no_stop(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        await app.run("fine")
        heard = Heard(app, ATTEMPT)

        with pytest.raises(RunFailedError) as caught:
            await app.run("failing")

        facts = {"asset": "p.failing", "partition": "", "run_id": caught.value.run_id}
        assert heard.names == ["materialization.start", "materialization.exception", "error"]
        ((measured, told),) = heard.of("materialization.exception")
        assert measured["duration"] >= 0
        assert isinstance(told["error"], AssetFunctionError)
        assert {name: told[name] for name in facts} == facts
        ((measured, told),) = heard.of("error")
        assert measured == {"count": 1}
        assert told == {**facts, "type": "execution_error", "retryable": False}

    @pytest.mark.conformance(119)
    async def test_an_error_is_an_event_and_a_line_in_the_log(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = await app_of(pipeline())
        heard = Heard(app, ["error"])

        with caplog.at_level(logging.ERROR), pytest.raises(RunFailedError):
            await app.run("failing")

        ((measured, facts),) = heard.of("error")
        assert (measured["count"], facts["type"]) == (1, "execution_error")
        assert [it.levelname for it in caplog.records if "p.failing" in it.getMessage()] == [
            "ERROR"
        ]

    async def test_every_attempt_is_told(self, app_of: AppOf) -> None:
        p, failures = Pipeline("p"), [ValueError(), ValueError()]

        @p.asset(retry=Retry(3, base=0))
        def shaky() -> int:
            if failures:
                raise failures.pop()
            return 1

        app = await app_of(p)
        heard = Heard(app, ATTEMPT)

        await app.run(shaky)

        failed = ["materialization.start", "materialization.exception", "error"]
        assert heard.names == [*failed, *failed, "materialization.start", "materialization.stop"]

    async def test_what_was_skipped_has_stopped(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        heard = Heard(app, ATTEMPT)

        await app.run("skipped")

        assert heard.names == ["materialization.start", "materialization.stop"]


class TestRuns:
    async def test_a_run_begins_and_ends(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        heard = Heard(app, ["run.start", "run.stop"])

        await app.run("fine")
        with pytest.raises(RunFailedError):
            await app.run(["failing", "skipped"])

        first, second = [record.run_id for record in reversed(await app.store.runs())]
        assert [(name, dict(facts)) for name, _, facts in heard.events] == [
            ("run.start", {"run_id": first, "targets": ["p.fine"]}),
            ("run.stop", {"run_id": first, "status": "succeeded"}),
            ("run.start", {"run_id": second, "targets": ["p.failing", "p.skipped"]}),
            ("run.stop", {"run_id": second, "status": "failed"}),
        ]
        assert [measured["count"] for measured, _ in heard.of("run.start")] == [1, 2]
        assert all(measured["duration"] >= 0 for measured, _ in heard.of("run.stop"))

    async def test_who_waits_for_a_run_of_others_is_told_its_end(self, app_of: AppOf) -> None:
        app, elsewhere = await app_of(pipeline()), await app_of(pipeline())
        heard = Heard(app, ["run.stop"])
        handle = await app.enqueue("fine")
        await drain(elsewhere)
        assert heard.names == []

        await handle.wait(60)

        ((measured, facts),) = heard.of("run.stop")
        assert facts == {"run_id": handle.run_id, "status": "succeeded"}
        assert measured["duration"] >= 0

    async def test_a_repeat_of_a_deduplicated_run_begins_nothing(self, app_of: AppOf) -> None:
        app = await app_of(pipeline())
        heard = Heard(app, ["run.start"])

        for _ in range(3):
            await app.enqueue("fine", dedupe="once")

        assert heard.names == ["run.start"]


class Counting:
    """An emitter of one's own, with only what the protocol asks for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def execute(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        self.names.append(event)

    @contextmanager
    def span(
        self, event: str, metadata: Mapping[str, object]
    ) -> Iterator[MutableMapping[str, float]]:
        self.names.append(f"{event}.start")
        yield {}
        self.names.append(f"{event}.stop")


class TestEmitters:
    async def test_a_handler_that_fails_harms_nothing(
        self, app_of: AppOf, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = await app_of(pipeline())

        def broken(*_: object) -> None:
            raise ValueError("handler")

        app.telemetry.attach(broken)  # type: ignore[attr-defined]

        assert await app.run("fine") == 1
        assert "a telemetry handler failed on flowstone.materialization.start" in caplog.text

    async def test_another_emitter_takes_the_place_of_ours(self, app_of: AppOf) -> None:
        emitter = Counting()
        app = await app_of(pipeline(), telemetry=emitter)

        await app.run("fine")

        assert emitter.names == [
            "run.start",
            "worker.start",
            "materialization.start",
            "io.store.start",
            "io.store.stop",
            "materialization.stop",
            "worker.stop",
            "run.stop",
            "io.load.start",
            "io.load.stop",
        ]


class Broken(Resource[int]):
    async def setup(self, config: Mapping[str, Any]) -> int:
        raise ValueError("no")


class BrokenAtFirst(Plugin):
    """Brings a service that breaks down once, and then is done."""

    name = "broken_at_first"

    def register(self, registries: Registries) -> None:
        failures = [ValueError("not yet")]

        class Serving(Service):
            async def run(self, app: Host) -> None:
                if failures:
                    raise failures.pop()

        registries.services.register("serving", Serving)


class TestCatalogue:
    async def test_every_event_is_told_by_something(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("flowstone.core.loop_watch.TICK_SECONDS", 0.02)
        monkeypatch.setattr("flowstone.core.loop_watch.HELD_SECONDS", 0.04)
        monkeypatch.setattr(pruning, "FIRST_SECONDS", 0.0)
        monkeypatch.setattr(pruning, "EVERY_SECONDS", 0.01)
        telemetry, heard = Telemetry(), Heard()
        telemetry.attach(heard)
        p, release = pipeline(), asyncio.Event()

        @p.asset
        async def unstorable() -> object:
            return object()

        @p.asset
        async def unreadable(fine: str = Dep("p.fine", type=str)) -> str:
            return fine

        @p.asset
        async def slow() -> None:
            await release.wait()

        @p.asset
        async def holding() -> None:
            await eventually(is_watched)
            hold_until(lambda: "has held the event loop" in caplog.text)

        @p.job(retry=1)
        async def mail(to: str) -> None:
            if not to:
                raise ValueError("to whom?")

        parts: dict[str, Any] = {"resources": {int: Broken()}, "plugins": [BrokenAtFirst()]}
        async with stage.build(p, telemetry=telemetry, **parts) as app:
            await app.run(["fine", "skipped", "holding"])
            await app.enqueue_many([mail.with_("Ada"), mail.with_("")])
            async with working(app):
                await eventually(lambda: {"job.stop", "job.exception"} <= {*heard.names})
            await eventually(lambda: "loop.held" in heard.names)
            for target in ("failing", "unstorable", "unreadable"):
                with pytest.raises(RunFailedError):
                    await app.run(target)
            await _read_items(telemetry)
            await _lose_a_worker(app, heard)
            await _settle_behind_the_back_of_its_worker(app, heard, release)
            await app.schedules.add("daily", "@daily", mail.with_("Ada"))
            async with working(app):
                await eventually(lambda: heard.of("service.stop"))
                await stage.advance("365d")
                await eventually(lambda: heard.of("prune") and heard.of("schedule.tick"))
        await reconcile(Meddled(), telemetry)

        assert set(heard.names) == {spec.name for spec in EVENTS}

    def test_nothing_else_is_told(self) -> None:
        known = {spec.name for spec in registries_of_plugins().events}
        spans = {name.removesuffix(".exception") for name in known if name.endswith(".exception")}

        told = {call for file in SOURCES.rglob("*.py") for call in _told(file)}

        assert {name for method, name in told if method == "execute"} <= known
        assert {name for method, name in told if method == "span"} <= spans
        assert len(told) > 10


class Meddled(MemoryStore):
    """As if somebody else had cancelled a job, which nobody can in memory."""

    async def reconcile(self) -> Sequence[Reconciled]:
        return [Reconciled("cancelled", 1, 1, Key("p.fine", ""), "default", "its job was deleted")]


async def _read_items(telemetry: Telemetry) -> None:
    reading = ItemReading(in_memory().readers, ErrorNormalizer(), telemetry)
    async with reading.open([1]) as pages:
        assert [list(page.items) async for page in pages] == [[1]]
    with pytest.raises(NotRegisteredError):
        async with reading.open(reader("nobody")):
            pass


async def _lose_a_worker(app: FlowStone, heard: Heard) -> None:
    handle = await app.enqueue("fine", force=True)
    lease = timedelta(milliseconds=200)
    dead = await app.store.register_worker(WorkerInfo("host", 1, ["default"], lease=lease))
    turn = await app.store.turn(dead, [], Capacity(queues={"default": 1}))
    assert len(turn.claims) == 1
    worker = app.worker(WorkerOptions(queues={"default": 1}, lease=lease))
    task = asyncio.create_task(worker.run())
    await eventually(lambda: "rescue" in heard.names)
    await handle.wait(60)
    worker.stop()
    await task


async def _settle_behind_the_back_of_its_worker(
    app: FlowStone, heard: Heard, release: asyncio.Event
) -> None:
    await app.enqueue("slow")
    earlier = len(heard.of("worker.start"))
    async with working(app):
        ((_, facts),) = await eventually(lambda: heard.of("worker.start")[earlier:])
        worker_id = int(str(facts["worker_id"]))
        ((id_, claim),) = await eventually(lambda: app.store.owned(worker_id))
        # In one batch with the settlement of a further claim, the late one would not be told of.
        behind = Settlement(id_, claim, Event.HANDED_BACK, delay=timedelta(hours=1))
        assert not (await app.store.turn(worker_id, [behind], Capacity())).refused
        release.set()
        await eventually(lambda: "settlement.rejected" in heard.names)


def _told(file: Path) -> Iterator[tuple[str, str]]:
    """Find the calls of an emitter: ``telemetry.execute("name", …)`` and ``….span("name", …)``."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="telemetry") | ast.Attribute(attr="_telemetry"), attr=method
                ),
                args=[ast.Constant(value=str(name)), *_],
            ) if method in ("execute", "span"):
                yield method, name
