"""
The one transaction of an attempt: begun by the author's function, ended with the settlement.

::

    ctx.transaction() ──▶ begun ──▶ the block ends ──▶ the function returns ──▶ settled, committed
                                      │ raises            │ raises, times out,    │ refused
                                      ▼                   ▼ is cancelled          ▼
                                    rolled back         rolled back             rolled back

Whatever the function returns, be it a value, ``Skip``, ``Snooze`` or ``Cancel``, its writes commit
with the row that says so. What it raises takes them back, and the attempt is settled as any other.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from flowstone.core.contracts.store import Settlement
from flowstone.core.contracts.transactions import SettlingTransaction
from flowstone.core.errors import TransactionError
from flowstone.core.worker_transactions import WorkerTransactions

T = TypeVar("T")


class AttemptTransaction:
    """
    Made when an attempt asks for a transaction.

    Attributes:
        is_settled: Whether the attempt needs no other settlement: this one was committed, or
            refused.
    """

    def __init__(self, transactions: WorkerTransactions) -> None:
        self._transactions = transactions
        self._open: SettlingTransaction | None = None
        self._is_inside = False
        self.is_settled = False

    def block(self, driver: str) -> AbstractAsyncContextManager[object]:
        """
        Return what the function enters with ``async with``.

        Raises:
            TransactionError: It is called where the worker's connections cannot be used.
        """
        self._transactions.check_place()
        return self._block(driver)

    @asynccontextmanager
    async def _block(self, driver: str) -> AsyncIterator[object]:
        self._open = await self._transactions.begin(driver)
        self._is_inside = True
        try:
            yield self._open.conn
        except BaseException:
            await self.roll_back()
            raise
        finally:
            self._is_inside = False

    async def settle(self, settlement: Settlement) -> Settlement:
        """
        Commit what was written, and the settlement with it; return what is left to be settled.

        That is the settlement itself when there is no transaction any more, and when `is_settled`.

        Raises:
            TransactionError: The function left its block open, or ended the transaction.
            DatabaseError: The database refused something; nothing was committed.
        """
        if self._is_inside:
            raise TransactionError(
                "the function returned while the block was still open",
                "wait in the function for whatever is in the block, then return",
            )
        begun, self._open = self._open, None
        if begun is None:
            return settlement
        left = await undisturbed(self._transactions.settle(begun, settlement))
        self.is_settled = left is None
        return left or settlement

    async def roll_back(self) -> None:
        """Take back what was written; nothing happens when there is no transaction any more."""
        begun, self._open = self._open, None
        if begun is not None:
            await undisturbed(begun.roll_back())


async def undisturbed(work: Coroutine[object, object, T]) -> T:
    """
    Return what the work returns, though the task that waits for it be cancelled.

    Half a commit is an unknown outcome, and the work limits its own time. Whoever cancels comes too
    late; by then everything is decided.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    return task.result()
