"""The rows of scatters in memory: what Postgres keeps in tables, as plain objects."""

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from flowstone.core.defaults.attached_rows import AttachedRows
from flowstone.core.json_value import JsonText
from flowstone.plugins.scatter.records import (
    BarrierState,
    ChildStatus,
    ItemRecord,
    ItemStatus,
    NewBarrier,
    PumpTurn,
)


@dataclass(slots=True)
class Item:
    """An item, and what became of it."""

    index: int
    key_hash: bytes
    key: JsonText | None
    item: JsonText
    status: ItemStatus = ItemStatus.PENDING
    attempts: int = 0
    result: JsonText | None = None
    error: JsonText | None = None
    errors: JsonText | None = None

    def record(self) -> ItemRecord:
        """Return the item as its reader sees it."""
        return ItemRecord(
            self.index,
            self.status,
            self.attempts,
            self.key or self.item,
            self.item,
            self.result,
            self.error,
            self.errors,
        )


@dataclass(slots=True)
class Chunk:
    """Items that are handed out, were given back, or wait to be tried again."""

    id: int
    indexes: list[int]
    attempts: int = 0
    due: datetime | None = None
    pump: tuple[int, int] | None = None
    deaths: int = 0


@dataclass(slots=True)
class Barrier:
    """A scatter, with its items."""

    new: NewBarrier
    created_at: datetime
    state: BarrierState = BarrierState.EXECUTING
    items: list[Item] = field(default_factory=list)
    by_hash: dict[bytes, Item] = field(default_factory=dict)
    batched: set[bytes] = field(default_factory=set)
    children: list[range] = field(default_factory=list)
    chunks: dict[int, Chunk] = field(default_factory=dict)
    permits: dict[int, tuple[int, int, bool]] = field(default_factory=dict)
    completed: int = 0
    failed: int = 0
    retried: int = 0
    claimed: int = 0
    item_bytes: int = 0
    last_chunk: int = 0
    is_closed: bool = False
    next_start: datetime | None = None
    progress: JsonText | None = None
    expected_total: int | None = None
    fed_claim: int = 0
    error: JsonText | None = None
    finished_at: datetime | None = None
    items_pruned_at: datetime | None = None
    pruned_count: int = 0

    @property
    def total(self) -> int:
        """How many items there are, or were."""
        return len(self.items) + self.pruned_count

    def count_items(self) -> int:
        """Return how many rows items have, in Postgres as here."""
        return len(self.items) + len(self.batched) + len(self.children)

    def forget_items(self, now: datetime) -> int:
        """Let the items go, keep the counts, and return how many rows that were."""
        count = self.count_items()
        self.pruned_count += len(self.items)
        for rows in (self.items, self.by_hash, self.batched, self.children, self.chunks):
            rows.clear()
        self.permits.clear()
        self.new = replace(self.new, input=None)
        self.progress = None
        self.items_pruned_at = self.items_pruned_at or now
        if not self.has_ended():
            self.state, self.finished_at = BarrierState.CANCELLED, now
        return count

    def has_ended(self) -> bool:
        """Return whether nothing of it changes any more."""
        return self.state.is_terminal

    def judged(self) -> BarrierState | None:
        """Return the state that it takes by itself; a rate equal to the threshold is tolerated."""
        options, total = self.new.options, len(self.items)
        if self.state.is_terminal:
            return None
        if self.failed and options.failure_mode == "all_or_nothing":
            return BarrierState.FAILED
        if not self.is_closed:
            return None
        if total and self.failed / total > options.failure_threshold:
            return BarrierState.FAILED
        if self.completed + self.failed < total:
            return None
        return BarrierState.PARTIAL_FAILURE if self.failed else BarrierState.COMPLETED

    def add_child(self, first: int) -> None:
        """Let the items from an index on be a child, if there are any and children are wanted."""
        if self.new.options.mode == "distributed" and len(self.items) > first:
            self.children.append(range(first, len(self.items)))

    def children_after(self, batch_index: int, limit: int) -> list[ChildStatus]:
        """Return how some children stand, in their order."""
        first = batch_index + 1
        return [self._child(at) for at in range(first, min(first + limit, len(self.children)))]

    def _child(self, batch_index: int) -> ChildStatus:
        indexes = self.children[batch_index]
        statuses = [self.items[index].status for index in indexes]
        return ChildStatus(
            batch_index,
            indexes[0],
            indexes[-1],
            len(indexes),
            statuses.count(ItemStatus.COMPLETED),
            statuses.count(ItemStatus.FAILED),
        )

    def left(self, chunk: Chunk) -> list[int]:
        """Return the items of a chunk that still are to be done."""
        return [
            index
            for index in chunk.indexes
            if self.items[index].status is ItemStatus.PENDING
            and self.items[index].attempts == chunk.attempts
        ]

    def add_chunk(self, indexes: list[int], attempts: int = 0, deaths: int = 0) -> Chunk:
        """Make a chunk that nobody has."""
        self.last_chunk += 1
        chunk = Chunk(self.last_chunk, indexes, attempts, deaths=deaths)
        self.chunks[chunk.id] = chunk
        return chunk

    def permit(self, turn: PumpTurn, most: int) -> int:
        """
        Return how many items a pump may run at once: what nobody else has, or its share.

        What runs, or may until the pump has heard, counts against the others. A pump that was
        claimed again since has none.
        """
        claim, own, _ = self.permits.get(turn.pump_id, (turn.claim, 0, False))
        if claim > turn.claim:
            return 0
        if turn.wanted_permits is None:
            return own
        others = [entry for pump_id, entry in self.permits.items() if pump_id != turn.pump_id]
        share = most // (len(others) + 1)
        permits = min(turn.wanted_permits, most - sum(granted for _, granted, _ in others))
        if any(is_short for _, _, is_short in others):
            permits = min(permits, max(1, share))
        permits = max(permits, 0)
        is_short = permits < min(turn.wanted_permits, share)
        self.permits[turn.pump_id] = (turn.claim, max(permits, turn.running), is_short)
        return permits

    def until_due(self, now: datetime, *, is_idle: bool) -> timedelta | None:
        """Return until what was handed out before may be so again; None: nothing waits for that."""
        dues = [
            chunk.due or now
            for chunk in self.chunks.values()
            if chunk.pump is None and (chunk.deaths < 2 or is_idle)
        ]
        return max(min(dues) - now, timedelta()) if dues else None

    def until_more(self, now: datetime) -> timedelta | None:
        """Return until items that nobody has may be handed out; None: others have all."""
        if self.claimed < len(self.items):
            return timedelta()
        return self.until_due(now, is_idle=True)


class Barriers(AttachedRows[Barrier]):
    """By materialization; they go with it, their items before."""

    def forget_items(self, materialization_id: int, now: datetime) -> int:
        """Let the items go; see `AttachedRows.forget_items`."""
        return self[materialization_id].forget_items(now) if materialization_id in self else 0

    def count_items(self, materialization_id: int) -> int:
        """Return how many there are."""
        return self[materialization_id].count_items() if materialization_id in self else 0


def scale_of(delay: timedelta | None) -> int:
    """Return a number that delays have in common which differ by less than a fifth."""
    milliseconds = 0 if delay is None else delay // timedelta(milliseconds=1)
    return int(4 * math.log2(milliseconds)) if milliseconds > 0 else -1
