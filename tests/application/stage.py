"""Where a scenario plays: one store that begins empty, the applications over it, and its time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg

from flowstone import FlowStone, Pipeline
from flowstone.core import duration
from flowstone.core.contracts.plugin import Plugin
from flowstone.core.contracts.store import MaterializationRecord, RunRecord
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.registries import Registries
from flowstone.core.telemetry import PREFIX
from flowstone.core.worker import Worker
from flowstone.core.worker_options import WorkerOptions
from flowstone.engine.statements import script
from flowstone.testing.owned_clock import OwnedClock
from tests.scenarios.eventually import eventually

SLOTS = 20


class Stage(ABC):
    """One of the two stores. Applications that were opened here are closed by `close`."""

    def __init__(self) -> None:
        self._open = AsyncExitStack()
        self._apps: list[FlowStone] = []

    def build(self, *pipelines: Pipeline, **options: Any) -> FlowStone:
        """Return an application over the store, not opened yet."""
        app = FlowStone(list(pipelines), **self._placed(options))
        self._apps.append(app)
        return app

    async def app(self, *pipelines: Pipeline, **options: Any) -> FlowStone:
        """Return an open application over the store; all of them share what is stored."""
        return await self._open.enter_async_context(self.build(*pipelines, **options))

    async def advance(self, by: str | timedelta) -> None:
        """Let time pass at once, and let everybody look at the clock."""
        self._move(duration.parse(by))
        for app in self._apps:
            app.store.wakeups.publish_all()

    async def close(self) -> None:
        """Close what was opened."""
        await self._open.aclose()

    @abstractmethod
    def _placed(self, options: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _move(self, by: timedelta) -> None: ...


class OneMemory(Plugin):
    """Brings ``memory://``: a memory store that several applications share."""

    name = "one_memory"

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def register(self, registries: Registries) -> None:
        registries.stores.register("memory", lambda **_: self.store)


class MemoryStage(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.clock = OwnedClock()
        self.plugin = OneMemory(MemoryStore(self.clock))

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        plugins = [self.plugin, *options.get("plugins", ())]
        return {"dsn": "memory://", **options, "plugins": plugins}

    def _move(self, by: timedelta) -> None:
        self.clock.advance(by)


class PostgresStage(Stage):
    """
    Args:
        admin: A connection to the database, whose search path is the schema.
    """

    def __init__(self, dsn: str, admin: psycopg.Connection[Any]) -> None:
        super().__init__()
        self.dsn = dsn
        self.admin = admin

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"dsn": self.dsn, **options}

    def _move(self, by: timedelta) -> None:
        with self.admin.transaction():
            self.admin.execute(script("testing/moving_time.sql").encode())
            self.admin.execute("SELECT pg_temp.flowstone_advance(%s)", [by])

    async def close(self) -> None:
        await super().close()
        await eventually(lambda: self.admin.execute(OTHERS).fetchone() == (0,))
        self.admin.execute(EMPTY)


OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# What is deleted of jobs leaves notes, which go then.
EMPTY = """
DO $$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT c.oid
        FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace
            AND c.relkind = 'r'
            AND c.relname !~ 'alembic_version$'
            AND c.relname NOT IN ('flowstone_served_code', 'flowstone_attached_tables')
        ORDER BY c.relname <> 'procrastinate_jobs'
    LOOP
        EXECUTE format('DELETE FROM %s', v_table);
    END LOOP;
END
$$
"""


async def drain(app: FlowStone, **queues: int) -> None:
    """Work until nothing is due; by default on the queue ``default``."""
    options = WorkerOptions(queues=queues or {"default": SLOTS}, drain=True)
    await app.worker(options).run()


@asynccontextmanager
async def working(app: FlowStone, **queues: int) -> AsyncIterator[Worker]:
    """Let a worker run meanwhile, by default on the queue ``default``."""
    worker = app.worker(WorkerOptions(queues=queues or {"default": SLOTS}))
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 60)


@asynccontextmanager
async def woken(app: FlowStone, **queues: int) -> AsyncIterator[Worker]:
    """Let one run that looks for nothing by itself: what it does at all, it was woken for."""
    never = timedelta(hours=1)
    options = WorkerOptions(queues or {"default": SLOTS}, lease=never, poll_interval=never)
    worker = app.worker(options)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await asyncio.wait_for(task, 60)


async def newest_run(app: FlowStone) -> RunRecord:
    (record,) = await app.store.runs(limit=1)
    return record


async def steps(app: FlowStone, run_id: int) -> Mapping[str, MaterializationRecord]:
    """Return a run's materializations by the asset's name, with the partition if there is one."""
    records = await app.store.materializations(run_id)
    return {_shown(it.key.asset, it.key.partition): it for it in records}


async def statuses(app: FlowStone, run_id: int) -> Mapping[str, str]:
    return {name: it.status.value for name, it in (await steps(app, run_id)).items()}


def _shown(asset: str, partition: str) -> str:
    name = asset.rpartition(".")[2]
    return f"{name}[{partition}]" if partition else name


class Heard:
    """A telemetry handler that remembers."""

    def __init__(self, app: FlowStone | None = None, events: Iterable[str] | None = None) -> None:
        self.events: list[tuple[str, Mapping[str, float], Mapping[str, object]]] = []
        if app is not None:
            app.telemetry.attach(self, events)  # type: ignore[attr-defined]

    def __call__(
        self, event: str, measurements: Mapping[str, float], metadata: Mapping[str, object]
    ) -> None:
        self.events.append((event.removeprefix(PREFIX), measurements, metadata))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.events]

    def of(self, *names: str) -> list[tuple[Mapping[str, float], Mapping[str, object]]]:
        return [(numbers, facts) for name, numbers, facts in self.events if name in names]
