"""Where a scenario plays: one store that begins empty, the applications over it, and its time."""

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
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

SLOTS = 20


async def eventually(condition: Callable[[], Any], *, seconds: float = 10) -> Any:
    """Return what a condition gives once it holds; it may be a coroutine's."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            found = await found if inspect.isawaitable(found) else found
            if found:
                return found
            await asyncio.sleep(0.005)


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


class MovedClock:
    """The real time, and what a test has added to it."""

    def __init__(self) -> None:
        self.added = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.added


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
        self.clock = MovedClock()
        self.plugin = OneMemory(MemoryStore(self.clock))

    def _placed(self, options: dict[str, Any]) -> dict[str, Any]:
        plugins = [self.plugin, *options.get("plugins", ())]
        return {"dsn": "memory://", **options, "plugins": plugins}

    def _move(self, by: timedelta) -> None:
        self.clock.added += by


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
        # The clock is the database's own, so what was written moves instead. Workers stay as they
        # are: those that live would seem dead until their next beat.
        with self.admin.transaction():
            for statement in MOVES:
                self.admin.execute(statement, {"by": by})
            for table, column in self.admin.execute(TIMES_OF_PLUGINS).fetchall():
                self.admin.execute(
                    f"UPDATE {table} SET {column} = {column} - %(by)s".encode(), {"by": by}
                )

    async def close(self) -> None:
        await super().close()
        await eventually(lambda: self.admin.execute(OTHERS).fetchone() == (0,))
        of_plugins = self.admin.execute(TABLES_OF_PLUGINS).fetchall()
        for table in (*TABLES, *(name for (name,) in of_plugins)):
            self.admin.execute(f"DELETE FROM {table}".encode())


MOVES = (
    """UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - %(by)s
        WHERE scheduled_at < '9999-01-01'""",
    "UPDATE procrastinate_events SET at = at - %(by)s WHERE at < '9999-01-01'",
    """UPDATE flowstone_waits
        SET deadline_at = deadline_at - %(by)s, waiting_since = waiting_since - %(by)s""",
    """UPDATE flowstone_materializations
        SET started_at = started_at - %(by)s, finished_at = finished_at - %(by)s,
            enqueued_at = enqueued_at - %(by)s, unique_until = unique_until - %(by)s""",
    "UPDATE flowstone_leases SET held_until = held_until - %(by)s",
    """UPDATE flowstone_schedules SET next_at = next_at - %(by)s, last_at = last_at - %(by)s""",
    "UPDATE flowstone_rate_uses SET at = at - %(by)s",
    "UPDATE flowstone_limit_uses SET used_at = used_at - %(by)s",
    "UPDATE flowstone_pruning SET ended_at = ended_at - %(by)s",
    """UPDATE flowstone_runs
        SET created_at = created_at - %(by)s, finished_at = finished_at - %(by)s""",
)
TABLES_OF_PLUGINS = r"""
SELECT c.relname
FROM pg_class c
WHERE c.relnamespace = 'flowstone'::regnamespace AND c.relkind = 'r'
    AND c.relname !~ '^(flowstone|procrastinate)_|alembic_version$'
"""
TIMES_OF_PLUGINS = f"""
SELECT c.relname, a.attname
FROM ({TABLES_OF_PLUGINS}) c
JOIN pg_attribute a ON a.attrelid = c.relname::regclass
WHERE a.atttypid = 'timestamptz'::regtype AND a.attnum > 0 AND NOT a.attisdropped
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
TABLES = (
    "flowstone_runs flowstone_materializations flowstone_values flowstone_current "
    "flowstone_lineage flowstone_reused flowstone_waits flowstone_workers flowstone_leases "
    "flowstone_pruning flowstone_schedules flowstone_unique_keys "
    "flowstone_queues flowstone_rate_uses "
    "flowstone_limits flowstone_limit_slots flowstone_limit_uses "
    "procrastinate_events procrastinate_jobs procrastinate_workers"
).split()


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
        await asyncio.wait_for(task, 10)


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
        await asyncio.wait_for(task, 10)


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
