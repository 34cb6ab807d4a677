"""An attempt's writes and its settlement in one transaction, on the attempt's own connection."""

import asyncio
import secrets
from contextlib import suppress
from datetime import timedelta
from typing import ClassVar

from flowstone.core.contracts.store import Settlement, WorkerLostError
from flowstone.core.contracts.transactions import Ending, SettlingTransaction, Transactions
from flowstone.core.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    TransactionError,
)
from flowstone.engine.caller_connection import fetch
from flowstone.engine.database_errors import (
    Failure,
    connection_errors,
    failure_of,
    is_aborted,
)
from flowstone.engine.rows import SETTLEMENT_TYPES, milliseconds, settlement_arrays
from flowstone.engine.statements import call
from flowstone.engine.transaction_connections import OpenTransaction, TransactionConnections

END_SECONDS = 30.0
"""What has no answer by then gets none: its connection is dropped."""

ROLL_BACK_SECONDS = 5.0
"""A connection that does not answer to a rollback is dropped, which is one too."""


class PostgresTransactions(Transactions):
    """The part of the store that gives transactions to attempts."""

    has_transactions: ClassVar[bool] = True

    schema: str
    _transactions: TransactionConnections

    async def begin(self, driver: str, *, idle_limit: timedelta) -> SettlingTransaction:
        with connection_errors():
            begun = await self._transactions.begin(driver)
        token = secrets.token_hex(8)
        mark = call(self.schema, "flowstone_mark_transaction_v1", "text", "bigint")
        transaction = PostgresTransaction(self.schema, token, begun, self._transactions, idle_limit)
        try:
            with connection_errors():
                async with asyncio.timeout(END_SECONDS):
                    await fetch(begun.conn, mark, token, milliseconds(idle_limit))
        except BaseException:
            await transaction.end(is_usable=False)
            raise
        return transaction


class PostgresTransaction(SettlingTransaction):
    """
    An open one.

    Args:
        token: What the transaction is marked with: one that the function has begun itself, in its
            place, is not.
    """

    def __init__(
        self,
        schema: str,
        token: str,
        begun: OpenTransaction,
        connections: TransactionConnections,
        idle_limit: timedelta,
    ) -> None:
        self.conn = begun.conn
        self._schema = schema
        self._token = token
        self._begun = begun
        self._connections = connections
        self._idle_limit = idle_limit
        self._is_over = False

    async def settle(self, worker_id: int, settlement: Settlement) -> Ending:
        try:
            if await self._write(worker_id, settlement):
                return await self.commit()
        except WorkerLostError:
            pass
        except Exception as error:
            await self.roll_back()
            if failure_of(error) in (Failure.LOCKED, Failure.CONFLICT):
                return Ending.LOCKED
            raise
        await self.roll_back()
        return Ending.REFUSED

    async def _write(self, worker_id: int, settlement: Settlement) -> bool:
        statement = call(
            self._schema, "flowstone_settle_with_v1", "text", "bigint", *SETTLEMENT_TYPES
        )
        arrays = settlement_arrays([settlement])
        try:
            with connection_errors():
                async with asyncio.timeout(END_SECONDS):
                    (row,) = await fetch(self.conn, statement, self._token, worker_id, *arrays)
        except DatabaseUnreachableError as error:
            raise DatabaseUnreachableError(
                f"{error}; nothing of ctx.transaction() was committed. The server ends one in "
                f"which nothing is asked for {self._idle_limit.total_seconds():g} s: open it "
                "late, and do what is slow before",
                sqlstate=error.sqlstate,
            ) from error
        except DatabaseError as error:
            if is_aborted(error):
                raise TransactionError(
                    "a statement in it failed, and the function went on; nothing can be committed",
                    "let the exception pass, or put what may fail into a savepoint, "
                    "`async with conn.transaction():`",
                ) from error.__cause__
            raise
        (counts,) = row.values()
        return bool(counts)

    async def commit(self) -> Ending:
        try:
            with connection_errors():
                async with asyncio.timeout(END_SECONDS):
                    await self._begun.commit()
        except Exception as error:
            if isinstance(error, DatabaseError) and failure_of(error) is not Failure.UNREACHABLE:
                await self.roll_back()
                raise
            await self.end(is_usable=False)
            return Ending.UNKNOWN
        await self.end(is_usable=True)
        return Ending.COMMITTED

    async def roll_back(self) -> None:
        if self._is_over:
            return
        try:
            async with asyncio.timeout(ROLL_BACK_SECONDS):
                await self._begun.roll_back()
        except Exception:
            await self.end(is_usable=False)
        else:
            await self.end(is_usable=True)

    async def end(self, *, is_usable: bool) -> None:
        """Give the connection back, or drop it, and the transaction with it."""
        if self._is_over:
            return
        self._is_over = True
        with suppress(TimeoutError):
            async with asyncio.timeout(ROLL_BACK_SECONDS):
                await self._connections.end(self._begun, is_usable=is_usable)
