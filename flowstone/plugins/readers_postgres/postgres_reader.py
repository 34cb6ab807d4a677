"""The item reader of a Postgres query."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal, TypeAlias
from uuid import UUID

import asyncpg

from flowstone.core.contracts.item_reader import ItemReader, Read
from flowstone.core.errors import DatabaseError, InvalidOptionError
from flowstone.core.json_value import JsonValue
from flowstone.core.reader_options import options_of
from flowstone.engine.database_errors import ASYNCPG_ERRORS, Failure, failure_of, sqlstate_of
from flowstone.engine.dsn import for_asyncpg
from flowstone.engine.statements import quoted
from flowstone.plugins.readers_postgres.keyset_query import CURSOR, KeysetQuery

AS_TEXT = (str, int, float, Decimal, UUID, date, datetime, time)
SETTINGS = {"application_name": "flowstone item reader", "DateStyle": "ISO"}

Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class PostgresOptions:
    """What `PostgresReader` takes; see there."""

    query: str = ""
    cursor_field: str | Sequence[str] = ""
    dsn: str | None = None
    pool: asyncpg.Pool | None = None
    arguments: Sequence[object] = ()
    order: Literal["asc", "desc"] = "asc"
    start_after: object = None
    row_selector: Callable[[Row], object] | None = None
    count: bool = False

    def __post_init__(self) -> None:
        missing = [name for name in ("query", "cursor_field") if not getattr(self, name)]
        if missing:
            raise ValueError(
                f"{' and '.join(f'{it}=' for it in missing)} missing; write "
                'query="SELECT id, name FROM items", cursor_field="id"'
            )
        if (self.dsn is None) is (self.pool is None):
            raise ValueError("one of dsn= and pool= says where the database is")
        if self.start_after is not None and len(self.after) != len(self.fields):
            raise ValueError(f"start_after= needs a value for each of {', '.join(self.fields)}")

    @property
    def fields(self) -> Sequence[str]:
        """The fields of the key."""
        return [self.cursor_field] if isinstance(self.cursor_field, str) else self.cursor_field

    @property
    def after(self) -> Sequence[object]:
        """The values of ``start_after``, one for each field."""
        given = self.start_after
        return given if isinstance(given, list | tuple) else [given]


@dataclass(frozen=True, slots=True)
class Position:
    """
    How a reading stands.

    Attributes:
        after: The key of the last row that was read, as texts; None before the first.
    """

    options: PostgresOptions
    query: KeysetQuery
    connections: "Connections"
    after: Sequence[str] | None


class PostgresReader(ItemReader[Position]):
    """
    Reads the rows of a query in the order of a key, each page from where the last one ended.

    No row is read twice or left out by what others write meanwhile, except rows that get a key
    before the place where reading stands. An index on the key keeps a page cheap wherever it is.

    Configuration:
        query: A SELECT, without ORDER BY; it may have parameters, ``$1`` ….
        cursor_field: A column of its result, or several, which tell rows apart and have no NULL.
        dsn: The database; or ``pool``, an open asyncpg pool, which behind a PgBouncer has
            ``statement_cache_size=0``.
        arguments: Of the query's parameters.
        order: ``asc`` or ``desc``.
        start_after: Begin after this key: a value, or one for each column.
        row_selector: A function of a row, a mapping, that makes the item of it; plain or
            asynchronous. Without one the item is the row.
        count: Count the rows when reading begins, to know the total; it reads all of them.
    """

    contract_version = "1.0.0"
    kept_functions = frozenset({"row_selector"})

    async def init(self, config: Mapping[str, object], deps: Mapping[str, object]) -> Position:
        """Return the state before the first row; see `ItemReader.init`."""
        options = options_of(PostgresOptions, config)
        after = None if options.start_after is None else [_text(it) for it in options.after]
        connections = Connections(options)
        try:
            query = await self._keyset_query(options, connections)
            if after is None:
                await self._refuse_missing_keys(options, query, connections)
        except BaseException:
            await connections.close()
            raise
        return Position(options, query, connections, after)

    async def _keyset_query(
        self, options: PostgresOptions, connections: "Connections"
    ) -> KeysetQuery:
        async with connections.transaction() as connection:
            prepared = await connection.prepare(f"SELECT * FROM ({options.query}) AS q")
            columns = {it.name: it.type for it in prepared.get_attributes()}
            arguments = len(prepared.get_parameters())
        unknown = [it for it in options.fields if it not in columns]
        if unknown:
            raise InvalidOptionError(
                f"cursor_field={unknown[0]!r} is no column of the query, which has "
                f"{', '.join(columns)}"
            )
        if arguments != len(options.arguments):
            raise InvalidOptionError(
                f"the query has {arguments} parameters, and arguments= has {len(options.arguments)}"
            )
        types = [columns[it] for it in options.fields]
        return KeysetQuery(
            options.query,
            arguments,
            options.fields,
            [f"{quoted(it.schema)}.{quoted(it.name)}" for it in types],
            is_descending=options.order == "desc",
        )

    async def _refuse_missing_keys(
        self, options: PostgresOptions, query: KeysetQuery, connections: "Connections"
    ) -> None:
        async with connections.transaction() as connection:
            if await connection.fetchval(query.without_key, *options.arguments):
                raise InvalidOptionError(
                    f"cursor_field {', '.join(query.fields)}: some rows have NULL there and would "
                    "be left out; exclude them in the query, or choose another column"
                )

    async def read(self, state: Position, limit: int) -> Read[Position]:
        """Return the next rows; see `ItemReader.read`."""
        query, arguments = state.query, state.options.arguments
        async with state.connections.transaction() as connection:
            # One more than wanted tells whether there are more, and whether the key is one.
            if state.after is None:
                rows = await connection.fetch(query.page, *arguments, limit + 1)
            else:
                rows = await connection.fetch(query.next_page, *arguments, *state.after, limit + 1)
        keys = [row[CURSOR] for row in rows]
        for key, following in pairwise(keys):
            if key == following:
                raise InvalidOptionError(
                    f"cursor_field {', '.join(query.fields)}: two rows have {', '.join(key)}; add "
                    'a column that tells them apart: cursor_field=["…", "id"]'
                )
        items = [await self._item(state.options, row) for row in rows[:limit]]
        after = keys[len(items) - 1] if items else state.after
        return Read(items, replace(state, after=after), is_last=len(rows) <= limit)

    async def _item(self, options: PostgresOptions, record: asyncpg.Record) -> object:
        row = {name: value for name, value in record.items() if name != CURSOR}
        if options.row_selector is None:
            return row
        item = options.row_selector(row)
        return await item if inspect.isawaitable(item) else item

    async def count(self, state: Position) -> int | None:
        """Return the number of rows, if the configuration wants them counted."""
        if not state.options.count:
            return None
        async with state.connections.transaction() as connection:
            counted: int = await connection.fetchval(state.query.count, *state.options.arguments)
        return counted

    def checkpoint(self, state: Position) -> JsonValue:
        """Return the key of the last row."""
        return {"after": None if state.after is None else [*state.after]}

    async def restore(self, state: Position, checkpoint: JsonValue) -> Position:
        """Return the state after the row with a key."""
        match checkpoint:
            case {"after": None}:
                return state
            case {"after": [*after]} if len(after) == len(state.options.fields):
                return replace(state, after=[str(it) for it in after])
        raise InvalidOptionError(
            f"{checkpoint!r} is no position of a reader by {', '.join(state.options.fields)}"
        )

    async def close(self, state: Position) -> None:
        """Let the connection go."""
        await state.connections.close()


@dataclass(slots=True)
class Connections:
    """One connection of its own, or those of a pool that somebody else closes."""

    options: PostgresOptions
    # Any: asyncpg's connections and those of its pool have no class in common.
    _own: Any = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """
        Give a connection, in a transaction that only reads.

        Raises:
            DatabaseError: The database refused the query or was lost; the latter is retryable, and
                the next call connects again.
        """
        with _database_errors():
            if self.options.pool is not None:
                async with (
                    self.options.pool.acquire() as connection,
                    connection.transaction(readonly=True),
                ):
                    yield connection
                return
            async with self._lock:
                if self._own is None or self._own.is_closed():
                    self._own = await asyncpg.connect(
                        **for_asyncpg(self.options.dsn or ""),
                        statement_cache_size=0,  # a PgBouncer may be in between
                        server_settings=SETTINGS,
                    )
                async with self._own.transaction(readonly=True):
                    yield self._own

    async def close(self) -> None:
        """Close a connection of its own."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except ASYNCPG_ERRORS as error:
        raise DatabaseError(
            str(error) or type(error).__name__,
            sqlstate=sqlstate_of(error),
            retryable=failure_of(error) is not Failure.REFUSED,
        ) from error


def _text(value: object) -> str:
    """Return a key's value as Postgres reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, AS_TEXT):
        return str(value)
    raise InvalidOptionError(f"start_after={value!r} must be a text, a number, a date or a UUID")
