"""
What is right and what is wrong with a database of ours, and the command that mends it.

Reads only. Each finding stands for itself; where one makes the following ones pointless they are
left out.
"""

import asyncio
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from flowstone.core.contracts.health import Finding, Level
from flowstone.core.contracts.tables import Tables
from flowstone.core.errors import (
    DatabaseError,
    FlowStoneError,
    InvalidOptionError,
    SchemaFingerprintError,
)
from flowstone.core.health import ANSWER_SECONDS
from flowstone.engine import fingerprint
from flowstone.engine.database_errors import connection_errors
from flowstone.engine.dsn import normalize, redacted
from flowstone.engine.neighbors import examine_neighbors
from flowstone.engine.revisions import SchemaState, SchemaStatus
from flowstone.engine.schema import NO_TABLES, Driver, statuses, transaction

OLDEST_SERVER, NEWEST_SERVER = 14, 18
CONNECT_SECONDS = 5


def examine(
    dsn: str, schema: str = "flowstone", *, tables: Mapping[str, Tables] = NO_TABLES
) -> Iterator[Finding]:
    """
    Yield the findings about a database, as they come.

    Args:
        tables: What plugins bring, by name.
    """
    try:
        yield from _examine_server(dsn)
    except (DatabaseError, InvalidOptionError) as error:
        yield Finding(
            "database",
            Level.FAIL,
            f"{redacted(dsn)}: {error}",
            "start the server, or correct --dsn / FLOWSTONE_DSN",
        )
        return
    try:
        found = statuses(dsn, schema, tables=tables)
        yield from (_schema(schema, it) for it in found)
        if not found[0].fits:
            return
        with transaction(dsn, schema) as connection:
            yield from _examine_procrastinate(connection, schema)
            yield from _examine_work(connection)
    except FlowStoneError as error:
        yield Finding("tables", Level.FAIL, str(error), "flowstone db status")


async def answers(dsn: str, schema: str, tables: Mapping[str, Tables]) -> Sequence[Finding]:
    """Return the findings from another thread, on connections of their own, in bounded time."""
    asking = asyncio.to_thread(lambda: list(examine(dsn, schema, tables=tables)))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asking
    except TimeoutError:
        message = f"{redacted(dsn)} has not answered in {ANSWER_SECONDS:g} seconds"
        return [Finding("database", Level.FAIL, message, "flowstone doctor")]


def _examine_server(dsn: str) -> Iterator[Finding]:
    target = normalize(dsn)
    if "connect_timeout=" not in target:
        target += f"{'&' if '?' in target else '?'}connect_timeout={CONNECT_SECONDS}"
    with connection_errors(), psycopg.connect(target) as connection:
        yield Finding("database", Level.OK, redacted(dsn))
        number, words = connection.info.server_version, connection.info.parameter_status
        major, shown = number // 10_000, words("server_version") or str(number)
        if major < OLDEST_SERVER:
            wanted = f"a server from {OLDEST_SERVER} to {NEWEST_SERVER}"
            yield Finding("server", Level.FAIL, f"Postgres {shown} is too old", wanted)
        elif major > NEWEST_SERVER:
            message = f"Postgres {shown} is newer than this FlowStone was tested with"
            yield Finding("server", Level.WARN, message)
        else:
            yield Finding("server", Level.OK, f"Postgres {shown}")
        if words("in_hot_standby") == "on" or words("default_transaction_read_only") == "on":
            message = "the server is read-only: a standby, or set so"
            yield Finding("writing", Level.FAIL, message, "give the DSN of the primary")


def _schema(schema: str, found: SchemaStatus) -> Finding:
    check = f"tables {found.plugin}" if found.plugin else "tables"
    whose = f"tables of plugin '{found.plugin}'" if found.plugin else "FlowStone tables"
    code = f"plugin '{found.plugin}'" if found.plugin else "FlowStone"
    match found.state:
        case SchemaState.UP_TO_DATE:
            return Finding(check, Level.OK, f"schema '{schema}' is at {found.head}")
        case SchemaState.NEWER:
            message = f"schema '{schema}' is at {found.current}, which still serves this {code}"
            mend = "upgrade the plugin" if found.plugin else "pip install --upgrade flowstone"
            return Finding(check, Level.WARN, message, mend)
        case SchemaState.ABSENT:
            message, mend = f"schema '{schema}' has no {whose}", "flowstone db migrate"
        case SchemaState.PENDING:
            message = f"schema '{schema}' is at {found.current}, needed is {found.head}"
            mend = "flowstone db migrate"
        case SchemaState.AHEAD:
            message = f"schema '{schema}' is at {found.current}; this {code} ends at {found.head}"
            mend = "upgrade the plugin" if found.plugin else "pip install --upgrade flowstone"
    return Finding(check, Level.FAIL, message, mend)


def _examine_procrastinate(connection: Driver, schema: str) -> Iterator[Finding]:
    found = fingerprint.read(connection)
    wrong = list(fingerprint.trigger_differences(found.enabled))
    try:
        version = fingerprint.check(found, schema)
        yield Finding("procrastinate", Level.OK, f"its tables are those of {version}")
    except SchemaFingerprintError as error:
        if error.context.get("differences") != wrong:
            yield Finding("procrastinate", Level.FAIL, str(error))
    batched, stock = "flowstone db triggers batched", "flowstone db triggers stock"
    if wrong:
        yield Finding("triggers", Level.FAIL, f"events are lost or doubled: {wrong[0]}", batched)
    elif any(found.enabled.get(name) for name in fingerprint.BATCHED_TRIGGERS):
        yield Finding("triggers", Level.OK, f"FlowStone's, one event a statement (back: {stock})")
    else:
        message = "procrastinate's own, one event a row: right, but slower"
        yield Finding("triggers", Level.WARN, message, batched)
    yield from examine_neighbors(connection, found.enabled)


def _examine_work(connection: Driver) -> Iterator[Finding]:
    served: set[str] = set()
    with connection.cursor(row_factory=class_row(_Worker)) as workers:
        for it in workers.execute(_WORKERS):
            served.update(it.queues)
            yield it.finding()
    if not served:
        yield Finding("workers", Level.WARN, "none is running", "flowstone worker")
    with connection.cursor(row_factory=class_row(_Queue)) as queues:
        for queue in queues.execute(_QUEUES):
            yield queue.finding(is_served=queue.name in served)


@dataclass(frozen=True, slots=True)
class _Worker:
    id: int
    host: str
    pid: int
    queues: list[str]
    silent_seconds: float
    lease_seconds: float
    running: int

    def finding(self) -> Finding:
        message = (
            f"{self.host}:{self.pid} serves {', '.join(self.queues)}, runs {self.running}, "
            f"beat {self.silent_seconds:.0f}s ago"
        )
        if self.silent_seconds <= self.lease_seconds:
            return Finding(f"worker {self.id}", Level.OK, message)
        mend = "any other worker takes it over: flowstone worker"
        return Finding(f"worker {self.id}", Level.WARN, f"dead? {message}", mend)


@dataclass(frozen=True, slots=True)
class _Queue:
    name: str
    due: int
    later: int
    running: int

    def finding(self, *, is_served: bool) -> Finding:
        check = f"queue {self.name}"
        message = f"{self.due} due, {self.later} later, {self.running} running"
        if is_served or not self.due:
            return Finding(check, Level.OK, message)
        mend = f"flowstone worker -q {shlex.quote(self.name)}"
        return Finding(check, Level.WARN, f"{message}; no FlowStone worker serves it", mend)


_WORKERS = b"""\
SELECT
    worker_id AS id,
    host,
    pid,
    queues,
    extract(epoch FROM clock_timestamp() - heartbeat_at)::double precision AS silent_seconds,
    extract(epoch FROM lease)::double precision AS lease_seconds,
    running
FROM workers
ORDER BY worker_id"""

_QUEUES = b"SELECT queue AS name, due, later, running FROM queue_depth ORDER BY queue"
