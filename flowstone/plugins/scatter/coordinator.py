"""
What keeps the state of scatters: the coordinator's contract and its records.

Pumps settle through it and nothing else. Ids are those of the materializations that wait; JSON goes
as text. Every verb may be repeated: what is settled stays as it is, and what has ended too.

::

    executing ──┬─▶ completed         every item has a result
                ├─▶ partial_failure   some failed, no more than is tolerated
                ├─▶ failed            more failed, or the items could not be read
                └─▶ cancelled         by itself, or with its run

Source: seed 004 §2.3, docs/scatter.md.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar

from flowstone.core.contracts.coordinator import Coordinator
from flowstone.core.json_value import JsonText, JsonValue
from flowstone.plugins.scatter import item_key
from flowstone.plugins.scatter.records import (
    BarrierState,
    BarrierStatus,
    ChildStatus,
    Feed,
    Inserted,
    ItemEvent,
    ItemRecord,
    ItemStatus,
    KeyedOutcome,
    NewBarrier,
    NewItem,
    Progress,
    PumpTurn,
    Turned,
)


class ScatterCoordinator(Coordinator):
    """Keeps barriers and their items; each method is one atomic step."""

    contract_version: ClassVar[str] = "1.0.0"
    minimum_version: ClassVar[str] = "1.0.0"

    @abstractmethod
    async def create(self, barrier: NewBarrier) -> bool:
        """Begin a scatter, with one assistant that reads its items; False: it was begun before."""

    @abstractmethod
    async def feed(self, barrier_id: int, *, claim: int | None = None) -> Feed | None:
        """
        Return what a scatter was begun with, and where reading goes on.

        Args:
            claim: Who is going to read: pages of earlier claims are refused from now on. None is
                returned when a later one reads already.

        Raises:
            BarrierNotFoundError: There is none.
        """

    @abstractmethod
    async def insert(
        self,
        barrier_id: int,
        items: Sequence[NewItem],
        *,
        closes: bool = False,
        claim: int | None = None,
        progress: JsonText | None = None,
        expected_total: int | None = None,
        batched: Sequence[bytes] = (),
    ) -> Inserted:
        """
        Insert a page of items together with where reading goes on; known keys are folded.

        Nothing is written to a barrier that has ended, or is closed.

        Args:
            closes: No further items come; without any the barrier ends at once.
            claim: Who reads, as in `feed`; None is anybody.
            batched: Where the items are batches: hashes of the keys of what is in them, for
                `known`.

        Raises:
            BarrierNotFoundError: There is none.
        """

    @abstractmethod
    async def known(self, barrier_id: int, hashes: Sequence[bytes]) -> Collection[bytes]:
        """Return those of some hashes that belong to items in its batches."""

    @abstractmethod
    async def turn(self, turn: PumpTurn) -> Turned:
        """
        Settle what a pump has finished, any subset of what it has, and hand out what is next.

        Outcomes of items that were settled before, or have gone to others, are refused.

        Raises:
            BarrierNotFoundError: There is none.
        """

    @abstractmethod
    async def settle(self, barrier_id: int, outcomes: Sequence[KeyedOutcome]) -> BarrierState:
        """
        Settle items by their keys; one that is settled stays as it is.

        Raises:
            BarrierNotFoundError: There is none.
            ItemNotFoundError: The barrier has no such item; nothing was settled.
        """

    @abstractmethod
    async def gather(
        self,
        barrier_id: int,
        *,
        after: int = -1,
        limit: int = 1000,
        statuses: Sequence[ItemStatus] | None = (ItemStatus.COMPLETED,),
    ) -> Sequence[ItemRecord]:
        """
        Return a page of its items in the order of their indexes; by default of the completed ones.

        None is the end. A page of large items may have fewer than ``limit``.

        Args:
            after: The last index of the page before.
            statuses: Which ones; None is all.
        """

    @abstractmethod
    async def children(
        self, barrier_id: int, *, after: int = -1, limit: int = 100
    ) -> Sequence[ChildStatus]:
        """
        Return how the children of a distributed scatter stand, in their order; else none.

        They are made where a page is inserted, and their counts are those of their items' rows.

        Args:
            after: The last ``batch_index`` of the page before.
        """

    @abstractmethod
    async def end(
        self, barrier_id: int, state: BarrierState, *, error: JsonText | None = None
    ) -> bool:
        """End one that executes: cancelled, or failed with an error. False: it had ended."""

    @abstractmethod
    async def status(self, barrier_id: int) -> BarrierStatus:
        """Return how it stands. Raises `BarrierNotFoundError`."""

    async def complete(self, barrier_id: int, key: JsonValue, result: JsonText) -> Progress:
        """Record one item's result, and say where its barrier stands; see `settle`."""
        text = item_key.serialize(key)
        outcome = KeyedOutcome(text, ItemEvent.COMPLETED, result=result)
        return Progress.of(await self.settle(barrier_id, [outcome]))

    async def fail(self, barrier_id: int, key: JsonValue, error: JsonText) -> Progress:
        """Record one item's failure, and say where its barrier stands; see `settle`."""
        text = item_key.serialize(key)
        outcome = KeyedOutcome(text, ItemEvent.FAILED, error=error)
        return Progress.of(await self.settle(barrier_id, [outcome]))

    async def cancel(self, barrier_id: int) -> bool:
        """Stop it: nothing more is handed out, nor settled. False: it had ended."""
        return await self.end(barrier_id, BarrierState.CANCELLED)
