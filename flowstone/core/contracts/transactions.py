"""
The part of a store that lets an attempt's own writes commit with its settlement.

``ctx.transaction()`` gives the author's function a connection. What it writes there, and what
became of the attempt, are one transaction, which is committed after the function has returned. A
store without connections has none to give, and says so.
"""

from abc import ABC, abstractmethod
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from flowstone.core.contracts.store_records import Settlement
from flowstone.core.errors import TransactionError

__all__ = ["Ending", "SettlingTransaction", "Transactions"]


class Ending(StrEnum):
    """
    What became of a transaction that was to commit with a settlement.

    COMMITTED: Both exist.
    REFUSED: The claim is no longer this worker's; neither exists.
    LOCKED: Somebody holds a row that the settlement would change, or a deadlock or a conflict undid
        all of it; neither exists.
    UNKNOWN: Nobody answered the commit; both exist, or neither, or it is not decided yet.
    """

    COMMITTED = "committed"
    REFUSED = "refused"
    LOCKED = "locked"
    UNKNOWN = "unknown"


class SettlingTransaction(ABC):
    """
    An open transaction, ended by `settle` or `roll_back`, whichever comes first.

    Attributes:
        conn: The connection that it is open on, for the author's function; `Store` methods that
            take ``conn`` take it too.
    """

    conn: object

    @abstractmethod
    async def settle(self, worker_id: int, settlement: Settlement) -> Ending:
        """
        Settle as `Store.turn` would, and commit; whatever happens, the transaction is over.

        Must not be cancelled: the outcome would be unknown.

        Raises:
            TransactionError: The function had ended the transaction, or made it unusable.
            DatabaseError: The database refused something; neither the settlement nor anything else
                was committed.
        """

    @abstractmethod
    async def commit(self) -> Ending:
        """
        Commit without a settlement, where nothing was claimed: an attempt that a test runs alone.

        Raises:
            DatabaseError: The database refused something; nothing was committed.
        """

    @abstractmethod
    async def roll_back(self) -> None:
        """Undo all of it; raises nothing, and does nothing when it is over."""


class Transactions:
    """What a `Store` says about transactions; by default, that it has none."""

    has_transactions: ClassVar[bool] = False
    """Whether `begin` gives one."""

    async def begin(self, driver: str, *, idle_limit: timedelta) -> SettlingTransaction:
        """
        Begin a transaction for an attempt; waits while too many are open.

        Args:
            driver: What the connection is of: ``asyncpg``, ``psycopg``, ``sqlalchemy``.
            idle_limit: A transaction that nobody uses for so long is undone by the store itself: a
                worker that has stopped must not hold its locks for longer than its lease.

        Raises:
            TransactionError: The store has none, or does not know the driver.
            DatabaseError: Nobody answers.
        """
        raise TransactionError(
            "it needs a database, and this application keeps everything in memory",
            "give it one, FlowStone(..., dsn='postgresql://…'), or in a unit test a context that "
            "brings a connection, JobContext(..., transactions=lambda driver: …)",
        )
