"""What the cases are played on: an application on either store, and what it told of itself."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from flowstone import FlowStone, Pipeline
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.resources import Configured
from flowstone.core.telemetry import Telemetry
from flowstone.core.worker_options import WorkerOptions


@dataclass(frozen=True, slots=True)
class Told:
    """One event, its name without the product's prefix."""

    name: str
    measurements: Mapping[str, float]
    metadata: Mapping[str, object]


@dataclass(slots=True)
class Listener:
    """A telemetry handler that remembers."""

    told: list[Told] = field(default_factory=list)

    def __call__(
        self, name: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        self.told.append(Told(name.removeprefix("flowstone."), dict(measurements), dict(metadata)))

    def of(self, *names: str) -> list[Told]:
        """Return the events of these names, or of names that begin so, in order."""
        return [event for event in self.told if event.name.startswith(names)]

    def names(self, *names: str) -> list[str]:
        return [event.name for event in self.of(*names)]


class Stage:
    """Opens applications on one store; those of one test share the database, where there is one."""

    def __init__(self, dsn: str | None, opened: AsyncExitStack) -> None:
        self.dsn = dsn
        self._opened = opened
        self.listener = Listener()

    async def open(
        self,
        *pipelines: Pipeline,
        io: Mapping[str, IOManager] | None = None,
        resources: Mapping[type, Configured] | None = None,
    ) -> FlowStone:
        telemetry = Telemetry()
        telemetry.attach(self.listener)
        app = FlowStone(pipelines, dsn=self.dsn, io=io, resources=resources, telemetry=telemetry)
        return await self._opened.enter_async_context(app)


async def drain(app: FlowStone) -> None:
    """Work as a worker would until nothing is due."""
    await app.worker(WorkerOptions(queues={"default": 4}, drain=True)).run()
