"""
The background services of one process: kept alive beside a worker, never in its way.

::

    running ──raises──▶ failing ──after a pause──▶ running
       │ └──returns──▶ done
       └──worker stops──▶ stopped

An elected service stands by until this process leads in it (`flowstone.core.leadership`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.health import Finding, Level
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.service import Service
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import reason_text
from flowstone.core.executor import Executor
from flowstone.core.leadership import lead
from flowstone.core.registry import Registry
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions

logger = logging.getLogger(__name__)

LASTING_SECONDS = 60.0
"""A service that has lived this long was well: the pause after its end is a short one."""


class State(StrEnum):
    """Where a service stands in this process."""

    STANDING_BY = "standing by"
    RUNNING = "running"
    FAILING = "failing"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(slots=True)
class _Kept:
    state: State
    failures: int = 0
    reason: str = ""

    def fail(self, error: BaseException) -> None:
        self.state, self.reason = State.FAILING, reason_text(error)
        self.failures += 1

    def finding(self, name: str) -> Finding:
        check, again = f"service {name}", f"; begun again after {self.failures} failures"
        if self.state is State.FAILING:
            mend = "its log has the traceback"
            return Finding(check, Level.FAIL, f"failing, {self.failures}×: {self.reason}", mend)
        return Finding(check, Level.OK, f"{self.state}{again if self.failures else ''}")


class Services:
    """
    What an application's plugins run beside its workers.

    Args:
        registry: Where they are registered; each is made when a worker starts.
    """

    def __init__(self, registry: Registry[Service], telemetry: TelemetryEmitter) -> None:
        self._registry = registry
        self._telemetry = telemetry
        self._kept: dict[str, _Kept] = {}
        self._serving: dict[str, Service] = {}
        self._is_winding_down = False

    @asynccontextmanager
    async def beside(self, app: Host) -> AsyncIterator[None]:
        """Run all of them for as long as the block does."""
        self._is_winding_down = False
        tasks = [asyncio.create_task(self._run(name, app), name=name) for name in self._registry]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                patience = max((it.stop_seconds for it in self._serving.values()), default=0.0)
                _, left = await asyncio.wait(tasks, timeout=patience)
                for task in left:
                    logger.error("Service %r does not stop; it is left behind", task.get_name())

    def wind_down(self) -> None:
        """Tell all of them that the worker takes no more work."""
        self._is_winding_down = True
        for service in self._serving.values():
            service.wind_down()

    def findings(self) -> Sequence[Finding]:
        """Say how those are that were started in this process."""
        return [kept.finding(name) for name, kept in self._kept.items()]

    async def _run(self, name: str, app: Host) -> None:
        kept = self._kept[name] = _Kept(State.STANDING_BY)
        try:
            service = self._serving[name] = self._registry.instance(name)
            keep = partial(self._keep, name, kept, service, app)
            if service.is_elected:
                lease = timedelta(seconds=service.takeover_seconds)
                term = partial(_whole_term, keep, kept)
                await lead(app.store, f"service {name}", term, lease=lease)
            else:
                await keep()
        except Exception as error:
            logger.exception("Service %r cannot be started", name)
            kept.fail(error)
        except asyncio.CancelledError:
            kept.state = State.STOPPED
            raise

    async def _keep(self, name: str, kept: _Kept, service: Service, app: Host) -> None:
        """Run the service until it returns or is cancelled, again and again while it raises."""
        backoff = Backoff()
        while True:
            began = time.monotonic()
            kept.state = State.RUNNING
            try:
                with self._telemetry.span("service", {"service": name}):
                    await service.run(app)
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                logger.exception("Service %r broke down and will be begun again", name)
                kept.fail(error)
            else:
                kept.state = State.DONE
                return
            if time.monotonic() - began > LASTING_SECONDS:
                backoff.reset()
            await backoff.wait()
            if self._is_winding_down:
                return


async def _whole_term(keep: Callable[[], Awaitable[None]], kept: _Kept) -> None:
    """Go on leading in a service that is done, so that no other worker begins it again."""
    try:
        await keep()
        await asyncio.get_running_loop().create_future()
    finally:
        kept.state = State.STANDING_BY


def _is_cancelled() -> bool:
    """Whether somebody wants this task to end; a service may also cancel what is its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class ServingWorker(Worker):
    """A worker with services beside it."""

    def __init__(
        self,
        app: Host,
        services: Services,
        executor: Executor,
        telemetry: TelemetryEmitter,
        options: WorkerOptions,
    ) -> None:
        super().__init__(app.store, executor, telemetry, options)
        self._app = app
        self._services = services

    def stop(self) -> None:
        """Take no more work; see `Worker.stop`."""
        super().stop()
        self._services.wind_down()

    async def run(self) -> None:
        """Work, and serve, until stopped; see `Worker.run`."""
        async with self._services.beside(self._app):
            await super().run()
