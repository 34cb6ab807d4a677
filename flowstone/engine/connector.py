"""
procrastinate's own Python, on asyncpg and in a schema of one's choice.

With this connector a procrastinate ``App``, its tasks, its worker and its command line work on the
tables that FlowStone uses:

    app = procrastinate.App(connector=AsyncpgConnector("postgresql://…", schema="flowstone"))

procrastinate's statements and functions name no schema, and a session behind a transaction-mode
PgBouncer keeps no ``search_path``. So every statement runs in a transaction that sets it first:
``BEGIN; SET LOCAL`` is one round trip, the statement the second, ``COMMIT`` the third. It is READ
COMMITTED, which procrastinate's statements are written for, whatever the role's default is.

Fetching leaves FlowStone's own jobs alone: ``flowstone_fetch_task_v1`` does what procrastinate's
function does, for all other jobs. So a worker on this connector may serve every queue.

Its SQL was written for psycopg, which sends strings as text of unknown type; asyncpg asks the
server for each parameter's type and wants a value of that type. The differences are settled here.
JSON always travels as text, so that it does not matter what a caller's connection makes of it.
"""

import asyncio
import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from procrastinate import exceptions
from procrastinate.connector import BaseAsyncConnector, Notify
from procrastinate.manager import QUEUEING_LOCK_CONSTRAINT
from procrastinate.sync_psycopg_connector import SyncPsycopgConnector
from procrastinate.types import JobToDefer

from flowstone.engine.database_errors import ASYNCPG_ERRORS
from flowstone.engine.dsn import for_asyncpg, normalize, with_search_path
from flowstone.engine.statements import checked_schema_name, search_path, set_search_path

logger = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 30.0
ANSWER_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 10.0
WAKE_UP = '{"type": "job_inserted", "job_id": 0}'

AsyncpgConnection = asyncpg.Connection | PoolConnectionProxy


class AsyncpgConnector(BaseAsyncConnector):
    """
    Connects procrastinate through a pool of asyncpg connections.

    Args:
        dsn: The server; a transaction-mode PgBouncer will do.
        schema: The schema with procrastinate's tables.
        direct_dsn: The server itself, where ``dsn`` is a PgBouncer: LISTEN needs a session, and so
            does procrastinate's synchronous side.
        min_size: Connections that the pool keeps open.
        max_size: Connections that the pool opens at most; LISTEN takes one more.
        statement_cache_size: Statements kept prepared per connection; 0 behind a PgBouncer that
            does not track them (before 1.21).
        json_dumps: Encodes job arguments.
        json_loads: Decodes them.
    """

    def __init__(
        self,
        dsn: str,
        schema: str = "flowstone",
        *,
        direct_dsn: str | None = None,
        min_size: int = 1,
        max_size: int = 10,
        statement_cache_size: int = 100,
        json_dumps: Callable[[Any], str] | None = None,
        json_loads: Callable[[str], Any] | None = None,
    ) -> None:
        self._dumps = json_dumps or json.dumps
        self._loads = json_loads or json.loads
        self.json_dumps, self.json_loads = self._dumps, self._loads
        self._schema = checked_schema_name(schema)
        self._dsn = normalize(dsn)
        self._direct_dsn = normalize(direct_dsn or dsn)
        self._sizes = (min_size, max_size)
        self._statement_cache_size = statement_cache_size
        self._pool: asyncpg.Pool | None = None
        self._pool_is_ours = False
        self._sync: SyncPsycopgConnector | None = None
        self._sync_lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it has a pool."""
        return self._pool is not None

    async def open_async(self, pool: asyncpg.Pool | None = None) -> None:
        """Open the pool, or use one that is open; opened twice, it changes nothing."""
        if self._pool is not None:
            return
        if pool is not None:
            self._pool, self._pool_is_ours = pool, False
            return
        min_size, max_size = self._sizes
        with _connector_errors():
            self._pool = await asyncpg.create_pool(
                **for_asyncpg(self._dsn),
                min_size=min_size,
                max_size=max_size,
                statement_cache_size=self._statement_cache_size,
                init=self._read_json,
            )
        self._pool_is_ours = True

    async def close_async(self) -> None:
        """Close what this connector opened."""
        pool, self._pool = self._pool, None
        if self._sync is not None:
            await asyncio.to_thread(self._sync.close)
        if pool is not None and self._pool_is_ours:
            with _connector_errors():
                await pool.close()

    def get_sync_connector(self) -> SyncPsycopgConnector:
        """
        Return the connector for synchronous callers: tasks in threads, scripts, the shell.

        It has a small psycopg pool of its own, opened here while this connector is open, and by
        ``App.open()`` otherwise.
        """
        with self._sync_lock:
            if self._sync is None:
                self._sync = SyncPsycopgConnector(
                    json_dumps=self._dumps,
                    json_loads=self._loads,
                    conninfo=with_search_path(self._direct_dsn, search_path(self._schema)),
                    min_size=1,
                    max_size=4,
                )
            if self._pool is not None:
                self._sync.open()
            return self._sync

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        if arguments:
            await self._rows(query, arguments)
            return
        async with self._acquired() as connection, self._in_schema(connection):
            # Without arguments it may be a script of many statements.
            await connection.execute(self._statement(query, {})[0])

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:
        return _one(await self._rows(query, arguments))

    async def execute_query_all_async(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        return await self._rows(query, arguments)

    async def execute_query_one_async_with_connection(
        self, connection: AsyncpgConnection, query: str, **arguments: Any
    ) -> dict[str, Any]:
        return _one(await self._rows_on(connection, query, arguments))

    async def execute_query_all_async_with_connection(
        self, connection: AsyncpgConnection, query: str, **arguments: Any
    ) -> list[dict[str, Any]]:
        return await self._rows_on(connection, query, arguments)

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """
        Pass on notifications until cancelled, on a connection of its own.

        Each time it has connected, every channel is woken once: what was sent while nobody listened
        is lost. A connection that died without a word is found out by a statement every 30 seconds.
        """
        wanted = list(channels)
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2 + 0.25, LONGEST_PAUSE_SECONDS)
            try:
                connection = await asyncpg.connect(**for_asyncpg(self._direct_dsn))
            except ASYNCPG_ERRORS as error:
                logger.warning("Cannot listen for jobs, will try again: %s", error)
                continue
            try:
                heard = await _listen(connection, wanted)
                for channel in wanted:
                    await on_notification(channel=channel, payload=WAKE_UP)
                pause = 0.0
                while (notification := await _next(heard, connection)) is not None:
                    channel, payload = notification
                    await on_notification(channel=channel, payload=payload)
                logger.warning("The connection that listens for jobs was lost; connecting again")
            finally:
                connection.terminate()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[AsyncpgConnection]:
        if self._pool is None:
            raise exceptions.AppNotOpen
        with _connector_errors():
            async with self._pool.acquire() as connection:
                yield connection

    async def _rows(self, query: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        async with self._acquired() as connection:
            if not self._pool_is_ours:
                return await self._rows_on(connection, query, arguments)
            text, values = self._statement(query, arguments)
            async with self._in_schema(connection):
                rows = await connection.fetch(text, *values)
            return [dict(row) for row in rows]

    @asynccontextmanager
    async def _in_schema(self, connection: AsyncpgConnection) -> AsyncIterator[None]:
        """One transaction of our own."""
        try:
            await connection.execute(f"{_BEGIN}; {set_search_path(self._schema)}")
            yield
            await connection.execute("COMMIT")
        except Exception:
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            raise
        except BaseException:
            connection.terminate()  # cancelled: the server rolls back, and nobody waits for it
            raise

    async def _rows_on(
        self, connection: AsyncpgConnection, query: str, arguments: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Run on somebody else's connection, and leave its transaction and search_path as found."""
        if not isinstance(connection, asyncpg.Connection | PoolConnectionProxy):
            raise exceptions.ConnectorException(
                f"expected an asyncpg connection, not {type(connection).__qualname__}"
            )
        text, values = self._statement(query, arguments)
        with _connector_errors():
            async with connection.transaction():
                (found,) = await connection.fetch(_SET_PATH, search_path(self._schema))
                prepared = await connection.prepare(text)
                rows = await prepared.fetch(*values)
                await connection.execute(_RESTORE_PATH, found["was"])
            types = {attribute.name: attribute.type.name for attribute in prepared.get_attributes()}
            return [
                {name: self._from_json(value, types[name]) for name, value in row.items()}
                for row in rows
            ]

    async def _read_json(self, connection: AsyncpgConnection) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=str, decoder=self._loads
            )

    def _from_json(self, value: object, type_name: str) -> object:
        """Decode what a caller's connection left as text."""
        if type_name in ("json", "jsonb") and isinstance(value, str):
            return self._loads(value)
        return value

    def _statement(self, query: str, arguments: dict[str, Any]) -> tuple[str, list[Any]]:
        objects = frozenset(name for name, value in arguments.items() if isinstance(value, dict))
        text, names = _translated(query, objects)
        return text, [self._sent(arguments[name], sort) for name, sort in names]

    def _sent(self, value: Any, sort: "_Sort") -> Any:
        """Return the value as its parameter wants it."""
        if value is None:
            return None
        match sort:
            case _Sort.JSON:
                return self._dumps(value)
            case _Sort.JOBS:
                return self._dumps([_row(job) for job in value])
            case _Sort.TEXT:
                return str(value)
            case _Sort.AS_IT_IS:
                return list(value) if isinstance(value, set | frozenset) else value


_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_SET_PATH = """\
SELECT current_setting('search_path') AS was, set_config('search_path', $1, true)"""
_RESTORE_PATH = "SELECT set_config('search_path', $1, true)"


class _Sort(Enum):
    """
    How an argument is sent.

    JSON: an object, as text that the statement casts.
    JOBS: rows of jobs to defer, as text, too.
    TEXT: joined to a string, as in ``$1 || 'SECOND'``; numbers become text.
    """

    AS_IT_IS = auto()
    JSON = auto()
    JOBS = auto()
    TEXT = auto()


_JOBS = "::procrastinate_job_to_defer_v1[]"
_PLACEHOLDER = re.compile(rf"%%|%\((\w+)\)s({re.escape(_JOBS)}|\s*\|\|)?")


@lru_cache
def _translated(query: str, objects: frozenset[str]) -> tuple[str, tuple[tuple[str, _Sort], ...]]:
    """Write psycopg's placeholders as ``$1``, ``$2`` …; the same name is the same parameter."""
    sorts: dict[str, _Sort] = {}

    def rewrite(match: re.Match[str]) -> str:
        name, follows = match.groups()
        if name is None:
            return "%"
        number = f"${[*sorts, name].index(name) + 1}"
        if follows == _JOBS:
            sorts[name] = _Sort.JOBS
            row = "json_populate_recordset(NULL::procrastinate_job_to_defer_v1"
            return f"ARRAY(SELECT {row}, {number}::text::json))"
        if name in objects:
            sorts[name] = _Sort.JSON
            return f"{number}::text::jsonb{follows or ''}"
        sorts[name] = _Sort.TEXT if follows else sorts.get(name, _Sort.AS_IT_IS)
        return f"{number}{follows or ''}"

    text = _PLACEHOLDER.sub(rewrite, query).replace(
        "procrastinate_fetch_job_v2(", "flowstone_fetch_task_v1("
    )
    return text, tuple(sorts.items())


def _row(job: JobToDefer) -> dict[str, Any]:
    at = job.scheduled_at
    return {**job._asdict(), "scheduled_at": at.isoformat() if at is not None else None}


def _one(rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        raise exceptions.NoResult
    return rows[0]


_Heard = asyncio.Queue[tuple[str, str] | None]


async def _listen(connection: asyncpg.Connection, channels: list[str]) -> _Heard:
    """Collect what is sent to the channels; None once the connection is gone."""
    heard: _Heard = asyncio.Queue()
    connection.add_termination_listener(lambda _: heard.put_nowait(None))
    for channel in channels:
        await connection.add_listener(
            channel, lambda _, __, name, payload: heard.put_nowait((name, str(payload)))
        )
    return heard


async def _next(heard: _Heard, connection: asyncpg.Connection) -> tuple[str, str] | None:
    while True:
        try:
            return await asyncio.wait_for(heard.get(), KEEPALIVE_SECONDS)
        except TimeoutError:
            try:
                await connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
            except ASYNCPG_ERRORS:
                return None


@contextmanager
def _connector_errors() -> Iterator[None]:
    """Raise what procrastinate expects its connectors to raise."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        # "Key (queueing_lock)=(…) already exists.", in the server's language.
        key = re.search(r"=\((.*)\)", error.detail or "", re.DOTALL)
        is_queueing_lock = error.constraint_name == QUEUEING_LOCK_CONSTRAINT
        raise exceptions.UniqueViolation(
            constraint_name=error.constraint_name,
            queueing_lock=key.group(1) if key and is_queueing_lock else None,
        ) from error
    except ASYNCPG_ERRORS as error:
        raise exceptions.ConnectorException(f"Database error: {error}") from error
