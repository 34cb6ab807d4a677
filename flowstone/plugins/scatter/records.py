"""
What goes over the border of the coordinator: the records of scatters, of items and of turns.

They are plain data. JSON travels as text, already checked by the codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import NamedTuple

from flowstone.core.json_value import JsonText, JsonValue
from flowstone.plugins.scatter import item_key
from flowstone.plugins.scatter.options import ScatterOptions


class BarrierState(StrEnum):
    """Where a barrier stands; the values are those of the column ``status``."""

    EXECUTING = "executing"
    COMPLETED = "completed"
    PARTIAL_FAILURE = "partial_failure"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended; then it stays so."""
        return self is not BarrierState.EXECUTING

    @property
    def has_results(self) -> bool:
        """Whether it ended in a way that its results are gathered."""
        return self in (BarrierState.COMPLETED, BarrierState.PARTIAL_FAILURE)


class Progress(StrEnum):
    """What settling an item has led to."""

    PENDING = "pending"
    COMPLETE = "complete"
    THRESHOLD_EXCEEDED = "threshold_exceeded"
    CANCELLED = "cancelled"

    @classmethod
    def of(cls, state: BarrierState) -> "Progress":
        """Return what a barrier's state means to who settles."""
        return _PROGRESS[state]


_PROGRESS = {
    BarrierState.EXECUTING: Progress.PENDING,
    BarrierState.COMPLETED: Progress.COMPLETE,
    BarrierState.PARTIAL_FAILURE: Progress.COMPLETE,
    BarrierState.FAILED: Progress.THRESHOLD_EXCEEDED,
    BarrierState.CANCELLED: Progress.CANCELLED,
}


class ItemStatus(IntEnum):
    """Where an item stands; the numbers are those of the column ``status``."""

    PENDING = 0
    COMPLETED = 1
    FAILED = 2


class ItemEvent(IntEnum):
    """What an attempt at an item came to; the numbers are what SQL is given."""

    COMPLETED = 1
    FAILED = 2
    RETRIED = 3
    RETURNED = 4
    """None was made, as it was too late for its time, or it said "not now": nothing is counted."""


@dataclass(frozen=True, slots=True)
class NewBarrier:
    """
    A scatter that begins.

    Attributes:
        id: The materialization that waits for it.
        asset: Its full name.
        partition: Its encoded partition.
        is_batched: Whether its items are batches.
        input: JSON text of what all batches share.
    """

    id: int
    run_id: int
    asset: str
    partition: str
    options: ScatterOptions
    is_batched: bool = False
    input: JsonText | None = None


class NewItem(NamedTuple):
    """
    An item to insert.

    Attributes:
        item: JSON text.
        key_hash: `item_key.stored_hash` of its key.
        key: JSON text; None: the item is its own key.
    """

    item: JsonText
    key_hash: bytes
    key: JsonText | None = None

    @classmethod
    def of(cls, item: JsonText, key: JsonValue) -> "NewItem":
        """Return an item with a key, which may be the item's own value."""
        text = item_key.canonical(key)
        return cls(item, item_key.stored_hash(text), None if text == item else text)


@dataclass(frozen=True, slots=True)
class Inserted:
    """
    What inserting a page has come to.

    Attributes:
        count: How many were new.
        total: How many there are now.
        is_superseded: Somebody else reads on: nothing was written, and nothing more is wanted.
    """

    count: int
    total: int
    state: BarrierState
    is_superseded: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """
    What a scatter was begun with, and how far its items are read.

    Attributes:
        progress: JSON text of where reading goes on; None from the beginning.
        input: JSON text of what all batches share; None is nothing.
        is_closed: All of them are read.
    """

    asset: str
    partition: str
    options: ScatterOptions
    input: JsonText | None
    is_batched: bool
    progress: JsonText | None
    is_closed: bool
    state: BarrierState


@dataclass(slots=True)
class ItemOutcome:
    """
    What an attempt at one item came to.

    Attributes:
        chunk_id: What it was handed out with.
        attempts: How many attempts it had had when it was handed out.
        errors: JSON text of errors within a batch that did not fail it.
        delay: Before it is tried again.
    """

    chunk_id: int
    index: int
    attempts: int
    event: ItemEvent
    result: JsonText | None = None
    error: JsonText | None = None
    errors: JsonText | None = None
    delay: timedelta | None = None


@dataclass(slots=True)
class PumpTurn:
    """
    What a pump reports and wants.

    Attributes:
        pump_id: The assistant, and the claim under which it has what it has.
        finished_chunks: Chunks of which nothing is left.
        want: How many items it has room for.
        held: How many are with it.
        running: How many run at most until it is answered.
        wanted_permits: How many it could run at once; None: another turn asks for permits.
        begins: It is its first; what it had under earlier claims is taken back.
        ends: It gives back what it has.
        asks: Whether something else waits for its place, and whether others should help.
    """

    barrier_id: int
    pump_id: int
    claim: int
    outcomes: Sequence[ItemOutcome] = ()
    finished_chunks: Sequence[int] = ()
    want: int = 0
    held: int = 0
    running: int = 0
    wanted_permits: int | None = None
    begins: bool = False
    ends: bool = False
    asks: bool = False


@dataclass(slots=True)
class Handed:
    """
    Items handed out to a pump, as parallel sequences.

    Attributes:
        keys: JSON texts; None: the item is its key.
    """

    chunk_ids: Sequence[int] = ()
    indexes: Sequence[int] = ()
    attempts: Sequence[int] = ()
    keys: Sequence[JsonText | None] = ()
    items: Sequence[JsonText] = ()


@dataclass(slots=True)
class Turned:
    """
    What a turn came to.

    Attributes:
        refused: How many outcomes were not taken: their items were settled, or had gone to others.
        permits: How many items the pump may run at once; of no meaning if it did not ask.
        wait: Until there may be more of what waits for its time; None: nobody knows. To a pump that
            ends: until what nobody has may be handed out; None: others have all there is.
        has_rivals: Something else waits for the pump's place.
        start_in: When the first of the items may start, the others ``spacing`` apart; None: any
            time.
        slack: How much later than that each may start; None: none is too late.
    """

    state: BarrierState
    total: int = 0
    completed: int = 0
    failed: int = 0
    is_closed: bool = False
    refused: int = 0
    permits: int = 0
    wait: timedelta | None = None
    has_rivals: bool = False
    start_in: timedelta | None = None
    spacing: timedelta = timedelta(0)
    slack: timedelta | None = None
    handed: Handed = field(default_factory=Handed)


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """
    An item as it stands.

    Attributes:
        key: JSON text, also of an item that is its own key.
        result: JSON text of a completed one.
        error: JSON text of why the last attempt failed.
        errors: JSON text of errors within a batch that did not fail it.
    """

    index: int
    status: ItemStatus
    attempts: int
    key: JsonText
    item: JsonText
    result: JsonText | None
    error: JsonText | None
    errors: JsonText | None = None


@dataclass(frozen=True, slots=True)
class BarrierStatus:
    """
    How a scatter stands.

    Attributes:
        total: Distinct items that there are so far; all of them once ``is_closed``.
        retried: Attempts that failed and were to be made again.
        expected_total: How many there will be, as far as their reader knows.
        error: JSON text of why its items could not be read.
    """

    id: int
    run_id: int
    asset: str
    partition: str
    state: BarrierState
    total: int
    completed: int
    failed: int
    retried: int
    is_closed: bool
    expected_total: int | None
    options: ScatterOptions
    error: JsonText | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def pending(self) -> int:
        """How many have not ended."""
        return self.total - self.completed - self.failed

    @property
    def progress(self) -> float:
        """How many of a hundred have ended; 0.0 of none."""
        return 100.0 * (self.completed + self.failed) / self.total if self.total else 0.0

    @property
    def failure_rate(self) -> float:
        """The share that has failed; 0.0 of none."""
        return self.failed / self.total if self.total else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether all that there are have ended."""
        return self.completed + self.failed >= self.total


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """
    How one child of a distributed scatter stands: the items that came with one page.

    Attributes:
        batch_index: Its place among the children, from 0.
        first_index: Of its items; so is ``last_index``.
        total: Its items; duplicates of those of earlier children are not among them.
    """

    batch_index: int
    first_index: int
    last_index: int
    total: int
    completed: int
    failed: int

    @property
    def state(self) -> BarrierState:
        """Where it stands by itself; how many may fail is its parent's business."""
        if self.completed + self.failed < self.total:
            return BarrierState.EXECUTING
        if self.completed:
            return BarrierState.PARTIAL_FAILURE if self.failed else BarrierState.COMPLETED
        return BarrierState.FAILED


@dataclass(frozen=True, slots=True)
class KeyedOutcome:
    """
    What an item came to, by its key.

    Attributes:
        key: Canonical JSON text.
    """

    key: JsonText
    event: ItemEvent
    result: JsonText | None = None
    error: JsonText | None = None
