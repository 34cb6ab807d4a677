"""
What an application is made of, and how that opens, closes and moves to another database.

The parts that do not know the database (definitions, registries, resources, telemetry) are made
once; those that do (`Assembly._keep_in`) are made anew for each.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Self, TypeAlias, TypeVar, cast

from flowstone.core import duration, registries
from flowstone.core import plugin as plugin_loading
from flowstone.core.application_limits import ApplicationLimits
from flowstone.core.application_queues import ApplicationQueues
from flowstone.core.application_schedules import Schedules
from flowstone.core.asset import Asset
from flowstone.core.chosen_io import DEFAULT_IO
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.contracts.host import Host
from flowstone.core.contracts.io_manager import IOManager
from flowstone.core.contracts.item_source import ReaderEntry
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.resource import Configured
from flowstone.core.contracts.store import Store
from flowstone.core.contracts.tables import Tables
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.coordinators import CoordinatorEntry, Coordinators
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.definitions import build
from flowstone.core.errors import DefinitionError, InvalidOptionError, PluginError
from flowstone.core.errors.root import printable
from flowstone.core.executor import Executor
from flowstone.core.item_reading import ItemReading
from flowstone.core.job_operations import JobOperations
from flowstone.core.job_submission import JobSubmissions
from flowstone.core.limit import Limit, values_of
from flowstone.core.pipeline import Pipeline
from flowstone.core.plugin import InstalledPlugin
from flowstone.core.processes.children import Children
from flowstone.core.processes.processes import Processes
from flowstone.core.processes.script_guard import refuse_in_import
from flowstone.core.pruning import Pruning
from flowstone.core.queue import Queue, limits_of
from flowstone.core.quiet_emitter import quiet
from flowstone.core.registry import DEFAULT
from flowstone.core.resources import Resources
from flowstone.core.retention import DEFAULT_RETENTION, Retention, checked
from flowstone.core.schedule_rows import ScheduleRows
from flowstone.core.scheduling import Scheduling
from flowstone.core.services import Services
from flowstone.core.stored_values import StoredValues
from flowstone.core.submission import Submissions
from flowstone.core.sweep import GRACE, Sweeper
from flowstone.core.sweeping import Sweeping
from flowstone.core.telemetry import Telemetry
from flowstone.core.threads import Threads
from flowstone.core.values import Values

IOEntry: TypeAlias = (
    IOManager | type[IOManager] | tuple[IOManager | type[IOManager], Mapping[str, object]]
)

E = TypeVar("E", bound=Executor)
T = TypeVar("T")


CRON = "cron"
"""The plugin that reads cron expressions where no other does."""


class Assembly:
    """The parts of an application; `FlowStone` says what the arguments mean."""

    def __init__(
        self,
        pipelines: Pipeline | Iterable[Pipeline],
        *,
        dsn: str | None = None,
        schema: str = "flowstone",
        io: Mapping[str, IOEntry] | None = None,
        resources: Mapping[type, Configured] | None = None,
        telemetry: TelemetryEmitter | None = None,
        plugins: Iterable[Plugin | str] = (),
        codec: Codec | str | None = None,
        sweep_after: timedelta | str | float | None = GRACE,
        retention: Retention | None = DEFAULT_RETENTION,
        queues: Mapping[str, Queue] | None = None,
        limits: Mapping[str, Limit] | None = None,
        coordinators: Mapping[type[Coordinator], CoordinatorEntry] | None = None,
        readers: Mapping[str, ReaderEntry] | None = None,
    ) -> None:
        self.pipelines = _pipelines(pipelines)
        self.registries = registries.in_memory()
        if isinstance(plugins, str):
            raise InvalidOptionError(f'plugins must be a list: plugins=["{plugins}"]')
        named = [plugin_loading.load(it) if isinstance(it, str) else it for it in plugins]
        named += plugin_loading.of_strategies(self.pipelines, named)
        self._plugins = plugin_loading.install(named, self.registries)
        self.retention = None if retention is None else checked(retention)
        if self.retention is not None:
            self.registries.services.register("pruning", Pruning(self.retention))
        for name, entry in (io or {}).items():
            self.registries.io.register(name, entry)
        for name, reader in (readers or {}).items():
            self.registries.readers.register(name, reader, replace=True)
        self.telemetry = telemetry or Telemetry(self.registries.events)
        if isinstance(self.telemetry, Telemetry):
            self.telemetry.catalogue.include(self.registries.events)
        self._emitter = quiet(self.telemetry)
        self._reading = ItemReading(
            self.registries.readers, self.registries.normalizer, self._emitter
        )
        configured = {**self.registries.resources.entries, **(resources or {})}
        named_codec = self.registries.codecs.instance(codec) if isinstance(codec, str) else codec
        self.codec = named_codec or self.registries.codecs.instance(DEFAULT)
        self._queue_limits = limits_of(queues)
        self._limit_keys = {name: it.key for name, it in (queues or {}).items() if it.key}
        self._schedule_rows = ScheduleRows(self.codec, self._cron_parser, self._limit_keys)
        self.definitions = build(
            self.pipelines, resources=configured, of_schedule=self._schedule_rows.objections
        )
        self.resources = Resources(configured, telemetry=self._emitter)
        if self.definitions.jobs:
            scheduling = Scheduling(
                self._schedule_rows, [*self.definitions.pipelines], self.definitions.schedules
            )
            self.registries.services.register("scheduling", scheduling)
        bodies = [*self.definitions, *(job.body for job in self.definitions.jobs.values())]
        in_processes = any(it.options.executor == "process" for it in bodies)
        self._children = Children(self.codec) if in_processes else None
        self._limit_values = values_of(limits)
        self._given_coordinators = coordinators or {}
        self._keep_in(dsn, schema)
        self._sweeper = Sweeper(self.definitions, self._values.io)
        if sweep_after is not None and self.registries.io.list():
            grace = duration.parse(sweep_after, option="sweep_after")
            self.registries.services.register("sweeping", Sweeping(self._sweeper, grace))
        for chosen in dict.fromkeys(it.options.io or DEFAULT_IO for it in self.definitions):
            self._values.io.check(chosen)

    def with_dsn(self, dsn: str | None, *, schema: str | None = None) -> Self:
        """
        Return this application on another database; only one of the two may be open at a time.

        Args:
            schema: None is this application's own.
        """
        return self._copy_in(dsn, self.schema if schema is None else schema)

    def with_store(self, store: Store) -> Self:
        """
        Return this application over a store that is made already, which others may share.

        Only one of the two applications may be open at a time, and the store ends with it.
        """
        return self._copy_in(None, self.schema, store)

    def _copy_in(self, dsn: str | None, schema: str, store: Store | None = None) -> Self:
        other = copy.copy(self)
        other._keep_in(dsn, schema, store)
        return other

    def _keep_in(self, dsn: str | None, schema: str, store: Store | None = None) -> None:
        self.dsn, self.schema = dsn, schema
        self._closing = f"closing:{id(self)}"
        self.store = store or self._store(dsn, schema)
        self.store.tables = self.tables
        self._values = Values(self.store, self.registries, self.codec, self._emitter)
        self._stored = StoredValues(self.definitions, self.store, self._values)
        self._coordinators = Coordinators(
            self.registries.coordinators,
            self._given_coordinators,
            is_durable=self.store.is_durable,
        )
        self._submissions = Submissions(
            self.definitions,
            self.store,
            self._values,
            self.codec,
            self._emitter,
            self._coordinators,
        )
        self.jobs = JobOperations(self.store)
        self._jobs = JobSubmissions(self.definitions, self.store, self.codec, self._limit_keys)
        self.schedules = Schedules(self.definitions, self.store, self.codec, self._schedule_rows)
        self.queues = ApplicationQueues(self.store, self._queue_limits)
        self.limits = ApplicationLimits(self.store, self._limit_values)
        self._services = Services(self.registries.services, self._emitter)

    def _store(self, dsn: str | None, schema: str) -> Store:
        if dsn is None:
            return MemoryStore()
        if not isinstance(dsn, str):
            raise InvalidOptionError(
                f"dsn must be a text such as postgresql://user@host/database, or None for memory, "
                f"not a {type(dsn).__qualname__}"
            )
        scheme, has_scheme, _ = dsn.partition("://")
        # Also postgres://, key=value, and SQLAlchemy's postgresql+driver://.
        name = scheme.partition("+")[0] if has_scheme and scheme != "postgres" else "postgresql"
        if name not in self.registries.stores:
            if name not in plugin_loading.discover():
                raise PluginError(
                    f"no plugin is registered as '{name}', for rows at dsn={name}://...; write "
                    "postgresql://user@host/database, or leave it out for memory"
                )
            self._plugins += plugin_loading.install([plugin_loading.load(name)], self.registries)
        return self.registries.stores.instance(name, {"dsn": dsn, "schema": schema})

    def _cron_parser(self) -> CronParser:
        if DEFAULT not in self.registries.cron_parsers:
            self._plugins += plugin_loading.install([plugin_loading.load(CRON)], self.registries)
        return self.registries.cron_parsers.instance(DEFAULT)

    @property
    def plugins(self) -> Sequence[InstalledPlugin]:
        """The plugins in use, with what each has registered."""
        return tuple(self._plugins)

    @property
    def tables(self) -> Mapping[str, Tables]:
        """The tables that plugins bring, by name; ``flowstone db migrate`` creates them."""
        return {name: self.registries.tables.instance(name) for name in self.registries.tables}

    def coordinator(self, contract: Callable[..., T]) -> T:
        """
        Return what keeps the state of a kind of asset for this application.

        Raises:
            NotRegisteredError: No plugin in use brings the contract.
        """
        return self._coordinators.get(contract)

    async def remarks(self, run_id: int) -> Mapping[int, str]:
        """Return what plugins have to say of a run's materializations, by id."""
        return await self._coordinators.remarks(run_id)

    async def open(self) -> Self:
        """
        Connect, and set up the resources; one that fails is reported and harms only its users.

        Raises:
            DatabaseUnreachableError: Nobody answers at the DSN.
            SchemaVersionError: The database is not migrated as this code needs it.
        """
        refuse_in_import()
        await self.store.open()
        try:
            await self._coordinators.open(cast("Host", self))
        except BaseException:
            await self.store.close()
            raise
        await self.resources.open()
        return self

    async def close(self) -> None:
        """End subscriptions, child processes, resources and connections; safe to call twice."""
        self.store.wakeups.publish(self._closing)
        if self._children is not None:
            await self._children.close()
        await self.resources.close()
        await self._coordinators.close()
        await self.store.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _executor(self, slots: int, child_processes: int) -> Executor:
        return self._executor_of(Executor, slots, child_processes)

    def _executor_of(
        self,
        kind: type[E],
        slots: int,
        child_processes: int,
        *,
        values: Values | None = None,
        resources: Resources | None = None,
    ) -> E:
        """Return an executor of some kind; values and resources are our own unless given."""
        refuse_in_import()
        children = self._children
        processes = None if children is None else Processes(children, child_processes)
        return kind(
            self.definitions,
            codec=self.codec,
            store=self.store,
            values=values or self._values,
            resources=resources or self.resources,
            normalizer=self.registries.normalizer,
            telemetry=self._emitter,
            threads=Threads(slots),
            processes=processes,
            limits=self.limits,
            coordinators=self._coordinators,
            reading=self._reading,
        )


def _pipelines(given: object) -> tuple[Pipeline, ...]:
    """
    Return the pipelines, in their order.

    Raises:
        DefinitionError: It is something else.
    """
    if isinstance(given, Pipeline):
        return (given,)
    listed = (
        tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    )
    for it in listed:
        if isinstance(it, Asset):
            raise DefinitionError(
                f"FlowStone() takes pipelines, not the asset '{it.full_name}': "
                f"FlowStone([{it.pipeline}])"
            )
        if not isinstance(it, Pipeline):
            raise DefinitionError(
                f"FlowStone() takes pipelines, not {printable(it, repr)[:80]}: "
                "FlowStone([Pipeline(...)])"
            )
    return listed
