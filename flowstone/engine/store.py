"""
The store on Postgres: one SQL function for each step of the contract.

Python calls functions by qualified name and passes arrays; what happens is in ``sql/core``. Turns
have connections of their own, so that reading and enqueueing never wait for them nor they for it.
No statement depends on the session, which lets a transaction-mode PgBouncer sit in between.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from operator import attrgetter

from flowstone.core.contracts.health import Finding
from flowstone.core.contracts.store import (
    Capacity,
    CreatedRun,
    Current,
    JsonText,
    Key,
    MaterializationRecord,
    NewRun,
    Progress,
    Prunable,
    Pruned,
    Reconciled,
    Rescued,
    Reused,
    RunRecord,
    Settlement,
    Store,
    StoredInput,
    Turn,
    WorkerInfo,
)
from flowstone.core.errors import RunNotFoundError
from flowstone.core.retention import Retention
from flowstone.core.status import RunStatus
from flowstone.engine import rows, schema
from flowstone.engine.assistants import PostgresAssistants
from flowstone.engine.awaiting import PostgresAwaiting
from flowstone.engine.conflicts import after_conflicts
from flowstone.engine.connection_pool import ConnectionPool
from flowstone.engine.database_errors import connection_errors
from flowstone.engine.diagnosis import answers
from flowstone.engine.heartbeat import HeartbeatThread
from flowstone.engine.job_queue import PostgresJobQueue
from flowstone.engine.limits import PostgresLimits
from flowstone.engine.listener import Listener
from flowstone.engine.queues import PostgresQueues
from flowstone.engine.schedule_store import PostgresScheduleStore
from flowstone.engine.settling_transaction import PostgresTransactions
from flowstone.engine.statements import call, checked_schema_name
from flowstone.engine.store_calls import CALL_SECONDS
from flowstone.engine.transaction_connections import TransactionConnections
from flowstone.engine.turn_connections import TurnConnections

POOL_SIZE = 4
"""The most connections for reading and enqueueing; turns, LISTEN and transactions have others."""

INPUT_BYTES = 64 * 1024
"""How much of its inputs a claim brings: each an equal share, or it is loaded when needed."""

TURN_SECONDS = 30.0
"""What has no answer by then gets none: its connection is dropped, and its outcome is unknown."""

MOST_NOTES = 1000
"""How many changes that others made to jobs are mended in one transaction."""

JOB_PERIODS = ("text[]", "bigint[]", "bigint[]")

LARGEST_ID = 2**63 - 1


class PostgresStore(
    PostgresAwaiting,
    PostgresJobQueue,
    PostgresQueues,
    PostgresLimits,
    PostgresScheduleStore,
    PostgresTransactions,
    PostgresAssistants,
    Store,
):
    """
    Runs, materializations and jobs in one schema of a Postgres database.

    Args:
        dsn: libpq URL or key=value string.
        schema: Where `flowstone db migrate` has put the tables.
    """

    def __init__(self, dsn: str, *, schema: str = "flowstone") -> None:
        super().__init__()
        self.dsn = dsn
        self.schema = checked_schema_name(schema)
        self._pool = ConnectionPool(dsn, POOL_SIZE)
        self._turns = TurnConnections(dsn)
        self._transactions = TransactionConnections(dsn)
        self._listener = Listener(dsn, schema, self.wakeups)

    async def open(self) -> None:
        await self._pool.open()
        try:
            with connection_errors(self.dsn):
                async with asyncio.timeout(CALL_SECONDS), self._pool.acquire() as connection:
                    await schema.check_connection(connection, self.schema, tables=self.tables)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._listener.stop()
        await self._turns.close()
        await self._transactions.close()
        await self._pool.close()

    async def examine(self) -> Sequence[Finding]:
        found = await answers(self.dsn, self.schema, self.tables)
        return [*found, *self._listener.findings()]

    # Planning

    async def current(
        self, keys: Sequence[Key], *, reserve: int = 0, conn: object = None
    ) -> tuple[Mapping[Key, Current], Sequence[int]]:
        found = await self.call(
            "flowstone_current_v1",
            ("text[]", "text[]", "integer"),
            [key.asset for key in keys],
            [key.partition for key in keys],
            reserve,
            conn=conn,
        )
        return rows.current_from(keys, found)

    async def create_run(self, run: NewRun, *, conn: object = None) -> CreatedRun:
        (row,) = await self.call(
            "flowstone_create_run_v1",
            rows.RUN_TYPES,
            *rows.run_arrays(run),
            conn=conn,
            is_bulk=True,
        )
        return CreatedRun(row["run_id"], row["created"])

    async def invalidate(
        self, keys: Sequence[Key], *, downstream: bool, io: str | None = None
    ) -> int:
        count: int = await self.call_value(
            "flowstone_invalidate_v1",
            ("text[]", "text[]", "boolean", "text"),
            [key.asset for key in keys],
            [key.partition for key in keys],
            downstream,
            io,
            is_bulk=True,
        )
        return count

    # Workers

    async def listen(self, queues: Sequence[str] = ()) -> None:
        for queue in queues:
            self._listener.add_queue(queue)
        await self._listener.start()

    async def register_worker(self, info: WorkerInfo) -> int:
        if info.limits:
            await self.declare_queues(info.limits)
        worker_id: int = await self.call_value(
            "flowstone_register_worker_v1",
            ("text", "integer", "text[]", "bigint"),
            info.host,
            info.pid,
            list(info.queues),
            rows.milliseconds(info.lease),
        )
        return worker_id

    async def unregister_worker(self, worker_id: int) -> None:
        await self.call_value("flowstone_unregister_worker_v1", ("bigint",), worker_id)

    async def heartbeat(self, worker_id: int) -> bool:
        return bool(await self.call_value("flowstone_heartbeat_v1", ("bigint",), worker_id))

    @asynccontextmanager
    async def beating(self, worker_id: Callable[[], int], every: timedelta) -> AsyncIterator[None]:
        thread = HeartbeatThread(self.dsn, self.schema, worker_id, every)
        thread.start()
        try:
            yield
        finally:
            thread.stop()

    async def turn(
        self, worker_id: int, settlements: Sequence[Settlement], capacity: Capacity
    ) -> Turn:
        ordered = sorted(settlements, key=attrgetter("id"))
        if capacity.run_id is None:
            queues = [name for name, slots in capacity.queues.items() if slots > 0]
            slots = [capacity.queues[name] for name in queues]
        else:
            queues, slots = [], [capacity.slots] if capacity.slots > 0 else []
        statement = call(
            self.schema,
            "flowstone_turn_v1",
            "bigint",
            *rows.SETTLEMENT_TYPES,
            "text[]",
            "integer[]",
            "bigint",
            "integer",
        )
        arrays = rows.settlement_arrays(ordered)

        async def once() -> Turn:
            async with self._turns.one(TURN_SECONDS) as connection:
                answer = await connection.fetch(
                    statement, worker_id, *arrays, queues, slots, capacity.run_id, INPUT_BYTES
                )
            return rows.turn_from(answer)

        return await after_conflicts(once)

    async def locked(self, materialization_ids: Sequence[int]) -> Sequence[int]:
        ids: Sequence[int] = await self.call_value(
            "flowstone_locked_v1", ("bigint[]",), list(materialization_ids)
        )
        return ids

    async def rescue(self, *, max_rescues: int, rescuer: int | None = None) -> Sequence[Rescued]:
        types = ("integer", "bigint")
        found = await self.call("flowstone_rescue_v1", types, max_rescues, rescuer)
        by_worker: dict[int, list[int]] = {}
        for row in found:
            by_worker.setdefault(row["worker_id"], []).append(row["materialization_id"])
        return [Rescued(worker_id, ids) for worker_id, ids in by_worker.items()]

    async def reconcile(self) -> Sequence[Reconciled]:
        found = await self.call("flowstone_reconcile_v1", ("integer",), MOST_NOTES)
        return [
            Reconciled(
                row["outcome"],
                row["materialization_id"],
                row["run_id"],
                Key(row["asset"], row["partition"]),
                row["queue"],
                row["message"],
            )
            for row in found
        ]

    async def suspect(self, worker_id: int, materialization_id: int) -> None:
        await self.call_value(
            "flowstone_suspect_v1", ("bigint", "bigint"), worker_id, materialization_id
        )

    async def owned(self, worker_id: int) -> Sequence[tuple[int, int]]:
        found = await self.call("flowstone_owned_v1", ("bigint",), worker_id)
        return [(row["id"], row["claim"]) for row in found]

    async def aborts(self, worker_id: int) -> Sequence[int]:
        ids: Sequence[int] = await self.call_value("flowstone_aborts_v1", ("bigint",), worker_id)
        return ids

    # Leadership

    async def hold_lease(self, name: str, holder: str, duration: timedelta) -> bool:
        types = ("text", "text", "bigint")
        milliseconds = rows.milliseconds(duration)
        return bool(
            await self.call_value("flowstone_hold_lease_v1", types, name, holder, milliseconds)
        )

    async def give_up_lease(self, name: str, holder: str) -> None:
        await self.call_value("flowstone_give_up_lease_v1", ("text", "text"), name, holder)

    # Pruning

    async def prune(self, retention: Retention, *, limit: int = 1000) -> Pruned:
        types = ("bigint", "bigint", "bigint", "bigint", *JOB_PERIODS, "integer")
        periods = (*retention.milliseconds, *rows.job_periods(retention))
        (row,) = await self.call("flowstone_prune_v1", types, *periods, limit)
        return Pruned(*row.values())

    async def prunable(self, retention: Retention) -> Prunable:
        runs, failed, _, items = retention.milliseconds
        found = await self.call("flowstone_prunable_v1", ("bigint", "bigint"), runs, failed)
        jobs: int = await self.call_value(
            "flowstone_prunable_jobs_v1", JOB_PERIODS, *rows.job_periods(retention), is_bulk=True
        )
        rows_of_items: int = await self.call_value(
            "flowstone_prunable_items_v1", ("bigint",) * 3, runs, failed, items, is_bulk=True
        )
        by_status = {RunStatus(row["status"]): row["run_count"] for row in found}
        return Prunable(by_status, jobs, rows_of_items)

    # Waiting and stopping

    async def wake(self, materialization_id: int, payload: JsonText) -> bool:
        return bool(
            await self.call_value(
                "flowstone_wake_v1", ("bigint", "text"), materialization_id, payload
            )
        )

    async def cancel_run(self, run_id: int) -> int:
        count: int = await self.call_value(
            "flowstone_cancel_run_v1", ("bigint",), run_id, is_bulk=True
        )
        return count

    # Values that IO managers hold

    async def origin(self) -> str:
        origin: str = await self.call_value("flowstone_origin_v1", ())
        return origin

    async def kept(self, attempts: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        found = await self.call(
            "flowstone_kept_v1",
            ("bigint[]", "integer[]"),
            [id_ for id_, _ in attempts],
            [claim for _, claim in attempts],
        )
        return {(row["id"], row["claim"]) for row in found}

    # Reading

    async def values(self, materialization_ids: Sequence[int]) -> Mapping[int, JsonText]:
        found = await self.call("flowstone_values_v1", ("bigint[]",), list(materialization_ids))
        return {row["materialization_id"]: row["value"] for row in found}

    async def run(self, run_id: int) -> RunRecord:
        found = await self.call("flowstone_run_v1", ("bigint",), run_id)
        if not found:
            raise RunNotFoundError(run_id)
        return rows.run_from(found[0])

    async def runs(
        self, *, status: RunStatus | None = None, limit: int = 20, before: int | None = None
    ) -> Sequence[RunRecord]:
        found = await self.call(
            "flowstone_runs_v1",
            ("text", "bigint", "integer"),
            status.value if status else None,
            LARGEST_ID if before is None else before,
            limit,
        )
        return [rows.run_from(row) for row in found]

    async def materializations(self, run_id: int) -> Sequence[MaterializationRecord]:
        found = await self.call("flowstone_materializations_v1", ("bigint",), run_id)
        return [rows.materialization_from(row) for row in found]

    async def progress(self, run_id: int, *, since: str | None = None) -> Progress:
        found = await self.call("flowstone_progress_v1", ("bigint", "text"), run_id, since)
        if not found:
            raise RunNotFoundError(run_id)
        return rows.progress_from(found)

    async def history(self, key: Key, *, limit: int = 20) -> Sequence[MaterializationRecord]:
        found = await self.call(
            "flowstone_history_v1", ("text", "text", "integer"), key.asset, key.partition, limit
        )
        return [rows.materialization_from(row) for row in found]

    async def reused(self, run_id: int) -> Sequence[Reused]:
        found = await self.call("flowstone_reused_v1", ("bigint",), run_id)
        return [
            Reused(row["materialization_id"], Key(row["asset"], row["partition"]), row["reason"])
            for row in found
        ]

    async def outputs(self, run_id: int, keys: Sequence[Key]) -> Mapping[Key, StoredInput]:
        found = await self.call(
            "flowstone_outputs_v1",
            ("bigint", "text[]", "text[]", "integer"),
            run_id,
            [key.asset for key in keys],
            [key.partition for key in keys],
            INPUT_BYTES,
        )
        return {
            Key(row["asset"], row["partition"]): StoredInput(
                row["asset"], row["materialization_id"], row["io"], row["location"], row["value"]
            )
            for row in found
        }

    async def lineage(self, key: Key) -> tuple[Sequence[Key], Sequence[Key]]:
        found = await self.call("flowstone_lineage_v1", ("text", "text"), key.asset, key.partition)
        upstream = [Key(row["asset"], row["partition"]) for row in found if row["is_upstream"]]
        downstream = [
            Key(row["asset"], row["partition"]) for row in found if not row["is_upstream"]
        ]
        return upstream, downstream
