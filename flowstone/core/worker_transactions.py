"""What the attempts of one worker need for transactions of their own."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from flowstone.core.contracts.store import Settlement, Turn
from flowstone.core.contracts.transactions import Ending, SettlingTransaction, Transactions
from flowstone.core.errors import TransactionError
from flowstone.core.status import Event

logger = logging.getLogger(__name__)

LOCKED_DELAY = timedelta(seconds=1)
"""Before an attempt is made again whose settlement met somebody's lock."""


class WorkerTransactions:
    """
    Begins transactions, settles by them, and tells the worker what became of it.

    Args:
        store: Where transactions come from.
        lease: The worker's; a transaction may idle for two thirds of it.
        worker_id: Says who the worker is at the moment.
        heard: Told of every settlement that was decided here, as of a turn that carried it.
    """

    def __init__(
        self,
        store: Transactions,
        lease: timedelta,
        worker_id: Callable[[], int],
        heard: Callable[[Turn, Sequence[Settlement]], None],
    ) -> None:
        self._store = store
        self._idle_limit = lease * 2 / 3
        self._worker_id = worker_id
        self._heard = heard
        self.loop: asyncio.AbstractEventLoop | None = None
        """The worker's, and so that of the connections."""

    def check_place(self) -> None:
        """
        Refuse what does not run on the worker's loop.

        Raises:
            TransactionError: It is called from a thread.
        """
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not self.loop:
            raise TransactionError(
                "a plain function runs in a thread, where the worker's connections cannot be used",
                "write the function as `async def`, and its blocking part as "
                "`await asyncio.to_thread(...)` before the block",
            )

    async def begin(self, driver: str) -> SettlingTransaction:
        """Begin one; waits while too many are open."""
        return await self._store.begin(driver, idle_limit=self._idle_limit)

    async def settle(
        self, transaction: SettlingTransaction, settlement: Settlement
    ) -> Settlement | None:
        """
        Settle and commit; return what is left to settle with a turn, or None.

        When it is not known whether the commit went through, that is a hand-back under the same
        claim: the fence refuses it if the commit did.
        """
        back = Settlement(settlement.id, settlement.claim, Event.HANDED_BACK)
        match await transaction.settle(self._worker_id(), settlement):
            case Ending.COMMITTED:
                self._heard(Turn(), [settlement])
            case Ending.REFUSED:
                self._heard(Turn(refused=[settlement.id]), [])
            case Ending.LOCKED:
                logger.warning(
                    "Somebody's lock held up materialization %s, and its writes with it; "
                    "it will be run again",
                    settlement.id,
                )
                back.delay = LOCKED_DELAY
                return back
            case Ending.UNKNOWN:
                logger.warning(
                    "Nobody has answered the commit of materialization %s; "
                    "it is handed back, unless it went through",
                    settlement.id,
                )
                return back
        return None
