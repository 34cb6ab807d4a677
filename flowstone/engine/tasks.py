"""
procrastinate's ordinary tasks, run by our workers.

::

    app = FlowStone([sales], dsn=…, plugins=[ProcrastinateTasks(mail)])

It is procrastinate's own worker that runs beside ours, in the same process and event loop. So
retries, locks, queueing locks, priorities, aborts, periodic tasks and middleware mean what they
mean there, and its commands show its jobs as they are. What fetches for it leaves our jobs alone
(`flowstone.engine.connector`).
"""

import logging
from collections.abc import Iterable
from datetime import timedelta

import procrastinate
from procrastinate import exceptions
from procrastinate.app import WorkerOptions
from procrastinate.worker import Worker

from flowstone.core import duration
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.registries import Registries
from flowstone.core.contracts.service import Service
from flowstone.core.errors import InvalidOptionError
from flowstone.engine.connector import AsyncpgConnector

logger = logging.getLogger(__name__)


class ProcrastinateTasks(Plugin):
    """
    Brings the tasks of a procrastinate application to the workers of a FlowStone application.

    Args:
        app: Connected by an `AsyncpgConnector`. Its ``worker_defaults`` hold where nothing is said.
        queues: Which to serve; None is what the application's defaults say, or all.
        concurrency: How many tasks run at once, besides the slots of our own queues; None is what
            the application's defaults say, or one.
        shutdown_timeout: How long a stop waits for what runs before it is aborted.

    Raises:
        InvalidOptionError: The application is connected by something else.
    """

    name = "procrastinate_tasks"

    def __init__(
        self,
        app: procrastinate.App,
        *,
        queues: Iterable[str] | None = None,
        concurrency: int | None = None,
        shutdown_timeout: timedelta | str | float = "30s",
    ) -> None:
        if not isinstance(app.connector, AsyncpgConnector):
            raise InvalidOptionError(
                f"the tasks' application is connected by {type(app.connector).__name__}; write: "
                "procrastinate.App(connector=AsyncpgConnector(dsn, schema='flowstone')), from "
                "flowstone.engine.connector"
            )
        patience = duration.parse(shutdown_timeout, option="shutdown_timeout").total_seconds()
        self._app, self._patience = app, patience
        self._options: WorkerOptions = {
            **app.worker_defaults,
            "wait": True,
            "install_signal_handlers": False,
            "shutdown_graceful_timeout": patience,
        }
        if queues is not None:
            self._options["queues"] = list(queues)
        if concurrency is not None:
            self._options["concurrency"] = concurrency

    def register(self, registries: Registries) -> None:
        """Add the service that runs them."""
        registries.services.register(self.name, self._service)

    def _service(self) -> Service:
        return _Tasks(self._app, self._options, self._patience)


class _Worker(Worker):
    async def _update_heartbeat(self) -> None:
        """Go on beating after an error; the original stops for ever, and nothing notices."""
        while True:
            try:
                await Worker._update_heartbeat(self)
            except exceptions.ConnectorException as error:
                logger.warning("Heartbeat of procrastinate's worker failed: %s", error)


class _Tasks(Service):
    def __init__(self, app: procrastinate.App, options: WorkerOptions, patience: float) -> None:
        self._app = app
        self._worker: Worker = _Worker(app, **options)
        self._is_stopping = False
        self.stop_seconds = patience + 5.0

    async def run(self, app: Host) -> None:
        if self._is_stopping:
            return
        self._app.perform_import_paths()
        connector = self._app.connector
        if isinstance(connector, AsyncpgConnector) and connector.is_open:
            await self._work()
            return
        async with self._app.open_async():
            await self._work()

    async def _work(self) -> None:
        await self._worker.run()
        if not self._is_stopping:
            # It gives up when it cannot defer a periodic task.
            raise RuntimeError("procrastinate's worker has stopped by itself; its log says why")

    def wind_down(self) -> None:
        self._is_stopping = True
        self._worker.stop()
