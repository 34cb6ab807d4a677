"""Background services live and die with the worker, and never take it with them."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.health import Level
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.service import Service
from tests.application.conftest import AppOf
from tests.application.stage import Heard, eventually, working

Run = Callable[[Host], Any]


class Watched(Service):
    """Counts how many of it run at this moment, and does what the test says."""

    def __init__(self, run: Run | None = None) -> None:
        self.begun = 0
        self.running = 0
        self._run = run

    async def run(self, app: Host) -> None:
        self.begun += 1
        self.running += 1
        try:
            if self._run is not None:
                await self._run(app)
            else:
                await asyncio.Event().wait()
        finally:
            self.running -= 1


class Elected(Watched):
    is_elected = True


class Bringing(Plugin):
    name = "bringing"

    def __init__(self, service: object) -> None:
        self.service = service

    def register(self, registries: Registries) -> None:
        registries.services.register("watched", self.service)  # type: ignore[arg-type]


def pipeline() -> Pipeline:
    p = Pipeline("p")

    @p.asset
    async def one() -> int:
        return 1

    return p


async def app_with(app_of: AppOf, service: object) -> FlowStone:
    return await app_of(pipeline(), plugins=[Bringing(service)])


async def finding(app: FlowStone) -> tuple[Level, str]:
    (found,) = [it for it in (await app.health()).findings if it.check == "service watched"]
    return found.level, found.message


class TestEveryWorker:
    async def test_it_starts_and_stops_with_the_worker(self, app_of: AppOf) -> None:
        service = Watched()
        app = await app_with(app_of, service)
        async with working(app):
            await eventually(lambda: service.running == 1)
            assert await finding(app) == (Level.OK, "running")

        assert (service.begun, service.running) == (1, 0)
        assert await finding(app) == (Level.OK, "stopped")

    async def test_each_of_several_workers_has_its_own(self, app_of: AppOf) -> None:
        service = Watched()
        plugins = [Bringing(service)]
        apps = [await app_of(pipeline(), plugins=plugins) for _ in range(2)]
        async with working(apps[0]), working(apps[1]):
            await eventually(lambda: service.running == 2)

    async def test_a_run_here_and_now_has_none(self, app_of: AppOf) -> None:
        service = Watched()
        app = await app_with(app_of, service)

        await app.run("one")

        assert service.begun == 0

    async def test_it_uses_the_application(self, app_of: AppOf) -> None:
        async def enqueue(app: Host) -> None:
            handle = await app.enqueue("one", partition=7)
            await handle.wait(60)

        service = Watched(enqueue)
        app = await app_with(app_of, service)
        async with working(app):
            await eventually(lambda: app.exists("one", partition=7))
            await eventually(lambda: service.running == 0)

            assert (service.begun, await finding(app)) == (1, (Level.OK, "done"))

    @pytest.mark.parametrize(
        "error", [ValueError("broken"), SystemExit("broken"), asyncio.CancelledError("broken")]
    )
    async def test_one_that_breaks_down_is_begun_again_and_the_worker_goes_on(
        self, app_of: AppOf, error: BaseException
    ) -> None:
        is_well = asyncio.Event()

        async def break_down(_: Host) -> None:
            if not is_well.is_set():
                raise error
            await asyncio.Event().wait()

        service = Watched(break_down)
        app = await app_with(app_of, service)
        heard = Heard(app, ["service.exception"])
        async with working(app):
            await eventually(lambda: service.begun == 2)
            level, message = await finding(app)
            assert level is Level.FAIL
            assert "broken" in message or isinstance(error, asyncio.CancelledError)
            assert not (await app.health()).ok

            handle = await app.enqueue("one")
            assert await handle.result(60) == 1
            is_well.set()
            await eventually(lambda: service.running == 1)
            level, message = await finding(app)

        assert (level, "begun again after" in message) == (Level.OK, True)
        assert [facts["service"] for _, facts in heard.of("service.exception")][:2] == (
            ["watched"] * 2
        )

    async def test_one_that_cannot_be_made_harms_nobody(self, app_of: AppOf) -> None:
        def make() -> Service:
            raise ValueError("no such file")

        app = await app_with(app_of, make)
        async with working(app):
            handle = await app.enqueue("one")
            assert await handle.result(60) == 1
            level, message = await finding(app)

        assert (level, "no such file" in message) == (Level.FAIL, True)

    async def test_one_that_does_not_stop_is_left_behind(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(Service, "stop_seconds", 0.01)
        may_end = asyncio.Event()

        async def hang(_: Host) -> None:
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    pass

        service = Watched(hang)
        app = await app_with(app_of, service)
        async with working(app):
            await eventually(lambda: service.running == 1)

        assert "'watched' does not stop" in caplog.text
        may_end.set()
        await eventually(lambda: service.running == 0)


class TestElected:
    async def test_one_of_all_workers_runs_it_and_another_takes_over(self, app_of: AppOf) -> None:
        service = Elected()
        plugins = [Bringing(service)]
        apps = [await app_of(pipeline(), plugins=plugins) for _ in range(2)]
        async with working(apps[0]):
            await eventually(lambda: service.running == 1)
            async with working(apps[1]):
                await eventually(lambda: apps[1]._services.findings())
                assert await finding(apps[1]) == (Level.OK, "standing by")
                assert (service.begun, service.running) == (1, 1)

    async def test_the_next_worker_has_it_at_once(self, app_of: AppOf) -> None:
        service = Elected()
        app = await app_with(app_of, service)
        for turn in (1, 2):
            async with working(app):
                await eventually(lambda: service.running == 1)
            assert (service.begun, service.running) == (turn, 0)

    async def test_how_long_it_may_be_gone_is_its_own_affair(
        self, app_of: AppOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Patient(Elected):
            takeover_seconds = 600.0

        asked: dict[str, timedelta] = {}

        async def hold(name: str, holder: str, duration: timedelta) -> bool:
            asked[name] = duration
            return True

        service = Patient()
        app = await app_with(app_of, service)
        monkeypatch.setattr(app.store, "hold_lease", hold)
        async with working(app):
            await eventually(lambda: service.running == 1)

        assert asked["service watched"] == timedelta(minutes=10)

    async def test_one_that_is_done_is_not_begun_again_elsewhere(self, app_of: AppOf) -> None:
        async def nothing(_: Host) -> None:
            return

        service = Elected(nothing)
        plugins = [Bringing(service)]
        apps = [await app_of(pipeline(), plugins=plugins) for _ in range(2)]
        async with working(apps[0]):
            await eventually(lambda: service.begun == 1)
            async with working(apps[1]):
                await eventually(lambda: apps[1]._services.findings())
                assert await finding(apps[0]) == (Level.OK, "done")
                assert await finding(apps[1]) == (Level.OK, "standing by")
        assert service.begun == 1
