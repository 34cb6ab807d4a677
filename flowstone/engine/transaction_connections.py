"""
Connections that attempts write on, apart from those of turns, reading and heartbeats.

An attempt holds one for as long as its transaction is open, and what the author's function does
meanwhile nobody knows. So there are few, of whichever driver, and who comes later waits: without a
limit, as the attempt has its own.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
from psycopg import IsolationLevel

from flowstone.core.errors import TransactionError
from flowstone.engine.connection_pool import ConnectionPool
from flowstone.engine.dsn import for_sqlalchemy, normalize
from flowstone.engine.store_calls import CALL_SECONDS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

MOST_OPEN = 8
"""How many transactions of attempts may be open in one process."""


class OpenTransaction(ABC):
    """
    A transaction on a connection that nobody else has.

    At READ COMMITTED, whatever the database's default: a settlement counts on it.

    Attributes:
        conn: The driver's connection.
    """

    conn: object

    @abstractmethod
    async def commit(self) -> None: ...

    @abstractmethod
    async def roll_back(self) -> None: ...

    @abstractmethod
    async def give_back(self) -> None:
        """Leave the connection to the next one; the transaction is over."""

    @abstractmethod
    async def drop(self) -> None:
        """End the connection as it is, at once; nobody may answer any longer."""


class Driver(ABC):
    """The connections of one driver."""

    @abstractmethod
    async def begin(self) -> OpenTransaction: ...

    @abstractmethod
    async def close(self) -> None: ...


class TransactionConnections:
    """The connections of all drivers together; usable again after `close`."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._drivers: dict[str, Driver] = {}
        self._room: asyncio.Semaphore | None = None

    async def begin(self, driver: str) -> OpenTransaction:
        """
        Open a transaction; the room that it takes is free again after `end`.

        Raises:
            TransactionError: There is no such driver.
            Exception: What the driver raises.
        """
        lender = self._driver(driver)
        if self._room is None:
            self._room = asyncio.Semaphore(MOST_OPEN)
        room = self._room
        await room.acquire()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await lender.begin()
        except BaseException:
            room.release()
            raise

    async def end(self, transaction: OpenTransaction, *, is_usable: bool) -> None:
        """Take the connection back, or drop it; raises nothing."""
        try:
            with suppress(Exception):
                await (transaction.give_back() if is_usable else transaction.drop())
        finally:
            if self._room is not None:
                self._room.release()

    async def close(self) -> None:
        """Close what is idle."""
        drivers, self._drivers, self._room = self._drivers, {}, None
        for driver in drivers.values():
            await driver.close()

    def _driver(self, name: str) -> Driver:
        known = self._drivers.get(name)
        if known is None:
            match name:
                case "asyncpg":
                    known = _Asyncpg(self._dsn)
                case "psycopg":
                    known = _Psycopg(self._dsn)
                case "sqlalchemy":
                    known = _SQLAlchemy(self._dsn)
                case _:
                    raise TransactionError(
                        f"there is no driver {name!r}",
                        'write driver="asyncpg", which is the default, "psycopg" or "sqlalchemy"',
                    )
            self._drivers[name] = known
        return known


class _Asyncpg(Driver):
    def __init__(self, dsn: str) -> None:
        # What a function has set in its session is not the next one's. It gets a proxy, which is of
        # no use to it once the connection was given back.
        self.pool = ConnectionPool(dsn, MOST_OPEN, reset=asyncpg.Connection.reset)
        self._opening = asyncio.Lock()
        self._is_open = False

    async def begin(self) -> OpenTransaction:
        async with self._opening:
            if not self._is_open:
                await self.pool.open()
                self._is_open = True
        connection = await self.pool.acquire()
        try:
            transaction = connection.transaction(isolation="read_committed")
            await transaction.start()
        except BaseException:
            connection.terminate()
            await self.pool.release(connection)
            raise
        return _OnAsyncpg(self.pool, connection, transaction)

    async def close(self) -> None:
        await self.pool.close()


class _OnAsyncpg(OpenTransaction):
    def __init__(self, pool: ConnectionPool, conn: Any, transaction: Any) -> None:
        self.conn: Any = conn
        self._pool = pool
        self._transaction = transaction

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()

    async def give_back(self) -> None:
        await self._pool.release(self.conn)

    async def drop(self) -> None:
        with suppress(asyncpg.InterfaceError):  # one that was lost has left the pool by itself
            self.conn.terminate()
        await self._pool.release(self.conn)


class _Psycopg(Driver):
    def __init__(self, dsn: str) -> None:
        self._dsn = normalize(dsn)
        self.idle: list[psycopg.AsyncConnection[Any]] = []

    async def begin(self) -> OpenTransaction:
        while True:
            is_new = not self.idle
            conn = await self._connect() if is_new else self.idle.pop()
            transaction = conn.transaction()
            try:
                await transaction.__aenter__()
            except psycopg.OperationalError:
                # It was lost while it was idle; nothing has happened on it yet.
                await conn.close()
                if is_new:
                    raise
            except BaseException:
                await conn.close()
                raise
            else:
                return _OnPsycopg(self, conn, transaction)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        # Nothing is prepared: behind a pooler its name may be another client's.
        conn = await psycopg.AsyncConnection.connect(self._dsn, prepare_threshold=None)
        await conn.set_isolation_level(IsolationLevel.READ_COMMITTED)
        return conn

    async def close(self) -> None:
        while self.idle:
            await self.idle.pop().close()


# As asyncpg does it.
_CLEAN = "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL"


class _OnPsycopg(OpenTransaction):
    """Psycopg itself refuses ``conn.commit()`` and ``conn.rollback()`` within its block."""

    def __init__(
        self,
        driver: _Psycopg,
        conn: psycopg.AsyncConnection[Any],
        transaction: psycopg.AsyncTransaction | Any,
    ) -> None:
        self.conn: psycopg.AsyncConnection[Any] = conn
        self._driver = driver
        self._transaction = transaction

    async def commit(self) -> None:
        await self._transaction.__aexit__(None, None, None)

    async def roll_back(self) -> None:
        undone = psycopg.Rollback()
        await self._transaction.__aexit__(type(undone), undone, None)

    async def give_back(self) -> None:
        await self.conn.set_autocommit(True)
        await self.conn.execute(_CLEAN)
        await self.conn.set_autocommit(False)
        self._driver.idle.append(self.conn)

    async def drop(self) -> None:
        await self.conn.close()


class _SQLAlchemy(Driver):
    def __init__(self, dsn: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self.engine: AsyncEngine = create_async_engine(
            for_sqlalchemy(dsn),
            isolation_level="READ COMMITTED",
            pool_size=MOST_OPEN,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"prepare_threshold": None},
        )

    async def begin(self) -> OpenTransaction:
        conn = await self.engine.connect()
        try:
            await conn.begin()
        except BaseException:
            await conn.invalidate()
            await conn.close()
            raise
        return _OnSQLAlchemy(conn)

    async def close(self) -> None:
        await self.engine.dispose()


class _OnSQLAlchemy(OpenTransaction):
    def __init__(self, conn: "AsyncConnection") -> None:
        self.conn: AsyncConnection = conn

    async def commit(self) -> None:
        await self.conn.commit()

    async def roll_back(self) -> None:
        await self.conn.rollback()

    async def give_back(self) -> None:
        await self.conn.close()

    async def drop(self) -> None:
        await self.conn.invalidate()
        await self.conn.close()
