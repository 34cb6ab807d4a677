"""
Settlements that the store did not take with their batch: found out apart, while the rest goes on.

::

    a batch is refused ──▶ set aside ──┬─ somebody holds a row that it needs ──▶ tried again later
                                       └─ nobody does ──▶ settled, in halves if that is refused
                                                             └─ a lone one that cannot be stored
                                                                fails; another is tried again later
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

from flowstone.core.backoff import Backoff
from flowstone.core.contracts.store import Settlement
from flowstone.core.errors import DatabaseError
from flowstone.core.status import Event

logger = logging.getLogger(__name__)

SOON_SECONDS = 0.05

Settle = Callable[[Sequence[Settlement]], Awaitable[None]]
Locked = Callable[[Sequence[int]], Awaitable[Sequence[int]]]
Unstorable = Callable[[Settlement, DatabaseError], Settlement]


class SetAside:
    """
    What one worker has set aside; it is the worker's until it is settled.

    Args:
        settle: Sends settlements to the store, and claims nothing.
        locked: Says which of these cannot be settled at the moment; see `Store.locked`.
        unstorable: Makes the failure that takes the place of a result which cannot be stored.
    """

    def __init__(self, settle: Settle, locked: Locked, unstorable: Unstorable) -> None:
        self._settle = settle
        self._locked = locked
        self._unstorable = unstorable
        self._waiting: dict[tuple[int, int], Settlement] = {}
        self._added = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Settlement]:
        return iter(self._waiting.values())

    def add(self, settlements: Sequence[Settlement]) -> None:
        """Take over a batch that was refused."""
        self._waiting |= {(it.id, it.claim): it for it in settlements}
        self._added.set()

    def clear(self) -> None:
        """Forget all of them: they would be refused."""
        self._waiting.clear()

    async def sift(self, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
        """Set aside what somebody's lock would make a batch wait for, and return the rest."""
        held = set(await self._locked([it.id for it in settlements]))
        if held:
            self._waiting |= {(it.id, it.claim): it for it in settlements if it.id in held}
            # Perhaps it was only another turn of ours that held them.
            if self._soon is None:
                self._soon = asyncio.get_running_loop().call_later(SOON_SECONDS, self._wake)
        return [it for it in settlements if it.id not in held]

    def _wake(self) -> None:
        self._soon = None
        self._added.set()

    async def keep_trying(self) -> None:
        """Settle what is set aside, at once and then less and less often; never returns."""
        backoff = Backoff()
        while True:
            await self._added.wait()
            self._added.clear()
            backoff.reset()
            while self._waiting:
                try:
                    await self._try_all()
                except Exception as error:
                    logger.warning("%s settlements will be tried again: %s", len(self), error)
                if self._waiting:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(backoff.next()):
                            await self._added.wait()
                            backoff.reset()
                    self._added.clear()

    async def _try_all(self) -> None:
        waiting = list(self._waiting.values())
        held = set(await self._locked([it.id for it in waiting]))
        if held:
            some = ", ".join(str(id_) for id_ in sorted(held)[:5])
            logger.warning("Somebody's lock holds up materializations %s (%s)", some, len(held))
        await self._settle_in_halves([it for it in waiting if it.id not in held])

    async def _settle_in_halves(self, part: Sequence[Settlement]) -> None:
        if not part:
            return
        try:
            await self._settle(part)
        except DatabaseError as error:
            if error.retryable:
                raise
            if len(part) == 1:
                self._mind_lone(part[0], error)
                return
            half = len(part) // 2
            await self._settle_in_halves(part[:half])
            await self._settle_in_halves(part[half:])
            return
        for settlement in part:
            self._waiting.pop((settlement.id, settlement.claim), None)

    def _mind_lone(self, settlement: Settlement, error: DatabaseError) -> None:
        if error.is_about_data and settlement.event is not Event.FAILED:
            self.add([self._unstorable(settlement, error)])
        else:
            logger.warning("Materialization %s cannot be settled yet: %s", settlement.id, error)
