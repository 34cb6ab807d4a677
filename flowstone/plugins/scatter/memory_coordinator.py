"""The coordinator of a store in memory, by the rules of ``sql/scatter/functions``."""

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from flowstone.core.contracts.host import Host
from flowstone.core.defaults.memory_store import MemoryStore
from flowstone.core.errors import InvalidOptionError
from flowstone.core.json_value import JsonText
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.errors import BarrierNotFoundError, ItemNotFoundError
from flowstone.plugins.scatter.item_key import stored_hash
from flowstone.plugins.scatter.memory_barriers import Barrier, Barriers, Chunk, Item, scale_of
from flowstone.plugins.scatter.records import (
    BarrierState,
    BarrierStatus,
    ChildStatus,
    Feed,
    Handed,
    Inserted,
    ItemEvent,
    ItemOutcome,
    ItemRecord,
    ItemStatus,
    KeyedOutcome,
    NewBarrier,
    NewItem,
    PumpTurn,
    Turned,
)
from flowstone.plugins.scatter.turn_size import average_bytes, most_items

FEEDS = '{"feeds": true}'
HELPS = '{"feeds": false}'
MOST_PUMPS = 16
MOST_DEATHS = 5
HORIZON = timedelta(seconds=1)
MARGIN = 0.06
"""Starts are so much further apart than the rate says that late ones stay within it."""
SLACK = 0.055
"""As a share of the rate's period: how late they may be for that."""


class MemoryScatter(ScatterCoordinator):
    """Scatters that live and die with the application's store in memory."""

    async def open(self, app: Host) -> None:
        if not isinstance(app.store, MemoryStore):
            kind = type(app.store).__qualname__
            raise InvalidOptionError(f"scatters in memory need its store, and this is a {kind}")
        self._store = app.store
        self._barriers = app.store.attached(Barriers)

    async def create(self, barrier: NewBarrier) -> bool:
        if barrier.id in self._barriers:
            return False
        self._barriers[barrier.id] = Barrier(barrier, self._store.clock.now())
        options = barrier.options
        await self._store.add_assistants(
            barrier.id, [FEEDS], queue=options.queue, priority=options.priority
        )
        return True

    async def feed(self, barrier_id: int, *, claim: int | None = None) -> Feed | None:
        it = self._barrier(barrier_id)
        if claim is not None:
            if claim < it.fed_claim:
                return None
            it.fed_claim = claim
        new = it.new
        return Feed(
            new.asset,
            new.partition,
            new.options,
            new.input,
            new.is_batched,
            it.progress,
            it.is_closed,
            it.state,
        )

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
        it = self._barrier(barrier_id)
        if claim is not None and claim < it.fed_claim:
            return Inserted(0, len(it.items), it.state, is_superseded=True)
        if it.has_ended() or it.is_closed:
            return Inserted(0, len(it.items), it.state)
        before = len(it.items)
        for new in items:
            if new.key_hash not in it.by_hash:
                item = Item(len(it.items), new.key_hash, new.key, new.item)
                it.items.append(item)
                it.by_hash[new.key_hash] = item
        it.item_bytes = max(it.item_bytes, average_bytes(items))
        it.batched.update(batched)
        it.add_child(before)
        it.progress = it.progress if progress is None else progress
        it.expected_total = it.expected_total if expected_total is None else expected_total
        it.is_closed = closes
        await self._judge(it)
        return Inserted(len(it.items) - before, len(it.items), it.state)

    async def known(self, barrier_id: int, hashes: Sequence[bytes]) -> Collection[bytes]:
        return self._barrier(barrier_id).batched.intersection(hashes)

    async def turn(self, turn: PumpTurn) -> Turned:
        it = self._barrier(turn.barrier_id)
        if it.has_ended():
            return self._turned(it, refused=len(turn.outcomes))
        if turn.begins:
            self._take_back(it, turn)
        refused = self._settle(it, turn)
        await self._judge(it)
        if it.has_ended():
            return self._turned(it, refused=refused)
        pump = (turn.pump_id, turn.claim)
        if turn.ends:
            for chunk in it.chunks.values():
                if chunk.pump == pump:
                    chunk.pump = None
            if it.permits.get(turn.pump_id, (turn.claim, 0, False))[0] <= turn.claim:
                it.permits.pop(turn.pump_id, None)
            turned = self._turned(it, refused=refused)
            turned.wait = it.until_more(self._store.clock.now())
            return turned
        return await self._hand_out(it, turn, refused)

    async def settle(self, barrier_id: int, outcomes: Sequence[KeyedOutcome]) -> BarrierState:
        it = self._barrier(barrier_id)
        items = [it.by_hash.get(stored_hash(outcome.key)) for outcome in outcomes]
        for item, outcome in zip(items, outcomes, strict=True):
            if item is None:
                raise ItemNotFoundError(barrier_id, outcome.key)
        for item, outcome in zip(items, outcomes, strict=True):
            assert item is not None
            if item.status is ItemStatus.PENDING and not it.has_ended():
                self._end_item(it, item, outcome.event, outcome.result, outcome.error)
        await self._judge(it)
        return it.state

    async def gather(
        self,
        barrier_id: int,
        *,
        after: int = -1,
        limit: int = 1000,
        statuses: Sequence[ItemStatus] | None = (ItemStatus.COMPLETED,),
    ) -> Sequence[ItemRecord]:
        it = self._barriers.get(barrier_id)
        items = it.items[after + 1 :] if it is not None else ()
        wanted = (item for item in items if statuses is None or item.status in statuses)
        return [item.record() for item in islice(wanted, limit)]

    async def children(
        self, barrier_id: int, *, after: int = -1, limit: int = 100
    ) -> Sequence[ChildStatus]:
        it = self._barriers.get(barrier_id)
        return [] if it is None else it.children_after(after, limit)

    async def end(
        self, barrier_id: int, state: BarrierState, *, error: JsonText | None = None
    ) -> bool:
        it = self._barrier(barrier_id)
        if it.has_ended():
            return False
        it.error = error
        await self._end(it, state)
        return True

    async def status(self, barrier_id: int) -> BarrierStatus:
        it = self._barrier(barrier_id)
        new = it.new
        return BarrierStatus(
            new.id,
            new.run_id,
            new.asset,
            new.partition,
            it.state,
            it.total,
            it.completed,
            it.failed,
            it.retried,
            it.is_closed,
            it.expected_total,
            new.options,
            it.error,
            it.created_at,
            it.finished_at,
        )

    def _barrier(self, barrier_id: int) -> Barrier:
        it = self._barriers.get(barrier_id)
        if it is None:
            raise BarrierNotFoundError(barrier_id)
        status = self._store.status_of(barrier_id)
        if not it.has_ended() and status is not None and status.is_terminal:
            it.state, it.finished_at = BarrierState.CANCELLED, self._store.clock.now()
        return it

    async def _judge(self, it: Barrier) -> None:
        state = it.judged()
        if state is not None:
            await self._end(it, state)

    async def _end(self, it: Barrier, state: BarrierState) -> None:
        it.state, it.finished_at = state, self._store.clock.now()
        it.chunks.clear()
        it.permits.clear()
        await self._store.dismiss_assistants(it.new.id)
        await self._store.wake(it.new.id, json.dumps({"status": state}))

    def _settle(self, it: Barrier, turn: PumpTurn) -> int:
        refused = 0
        again: dict[tuple[int, ItemEvent, int], list[ItemOutcome]] = {}
        for outcome in turn.outcomes:
            chunk, item = it.chunks.get(outcome.chunk_id), it.items[outcome.index]
            is_open = item.status is ItemStatus.PENDING and item.attempts == outcome.attempts
            if chunk is None or chunk.pump != (turn.pump_id, turn.claim) or not is_open:
                refused += 1
                continue
            if outcome.event is ItemEvent.RETURNED:
                chunk.indexes = [index for index in chunk.indexes if index != item.index]
            else:
                self._end_item(
                    it, item, outcome.event, outcome.result, outcome.error, outcome.errors
                )
            if outcome.event in (ItemEvent.RETRIED, ItemEvent.RETURNED):
                kind = (item.attempts, outcome.event, scale_of(outcome.delay))
                again.setdefault(kind, []).append(outcome)
        for (attempts, _, _), outcomes in again.items():
            chunk = it.add_chunk(sorted(outcome.index for outcome in outcomes), attempts)
            delay = max(outcome.delay or timedelta() for outcome in outcomes)
            chunk.due = self._store.clock.now() + delay
        for id_ in turn.finished_chunks:
            if id_ in it.chunks and it.chunks[id_].pump == (turn.pump_id, turn.claim):
                del it.chunks[id_]
        return refused

    @staticmethod
    def _end_item(
        it: Barrier,
        item: Item,
        event: ItemEvent,
        result: JsonText | None,
        error: JsonText | None,
        errors: JsonText | None = None,
    ) -> None:
        item.attempts += 1
        item.result, item.error, item.errors = result, error, errors
        if event is ItemEvent.COMPLETED:
            item.status = ItemStatus.COMPLETED
            it.completed += 1
        elif event is ItemEvent.FAILED:
            item.status = ItemStatus.FAILED
            it.failed += 1
        else:
            it.retried += 1

    def _take_back(self, it: Barrier, turn: PumpTurn) -> None:
        for chunk in list(it.chunks.values()):
            if chunk.pump is None or not self._is_gone(chunk.pump, turn):
                continue
            left = it.left(chunk)
            chunk.pump, chunk.due = None, None
            chunk.deaths += 1
            if chunk.deaths > 1 or not left:
                del it.chunks[chunk.id]
            if chunk.deaths > MOST_DEATHS:
                for index in left:
                    message = f"its worker died {chunk.deaths} times while running it"
                    error = json.dumps({"code": "worker_died", "message": message})
                    self._end_item(it, it.items[index], ItemEvent.FAILED, None, error)
            elif chunk.deaths > 1:
                for index in left:
                    it.add_chunk([index], chunk.attempts, chunk.deaths)
        self._forget_the_gone(it, turn)

    def _forget_the_gone(self, it: Barrier, turn: PumpTurn) -> None:
        for pump_id, (claim, _, _) in list(it.permits.items()):
            if self._is_gone((pump_id, claim), turn):
                del it.permits[pump_id]

    def _is_gone(self, pump: tuple[int, int], turn: PumpTurn) -> bool:
        pump_id, claim = pump
        if pump_id == turn.pump_id and claim < turn.claim:
            return True
        is_known = self._store.status_of(pump_id) is not None
        return is_known and not self._store.holds(pump_id, claim)

    async def _hand_out(self, it: Barrier, turn: PumpTurn, refused: int) -> Turned:
        now, options = self._store.clock.now(), it.new.options
        turned = self._turned(it, refused=refused)
        room = most = min(turn.want, most_items(it.item_bytes))
        turned.permits = turn.wanted_permits or 0
        if options.max_concurrent is not None:
            if turn.asks:
                self._forget_the_gone(it, turn)
            turned.permits = it.permit(turn, options.max_concurrent)
            room = min(room, options.max_concurrent) if turned.permits > 0 else 0
        start = now
        if options.rate_limit is not None and room > 0:
            turned.spacing = options.rate_limit.per * (1 + MARGIN) / options.rate_limit.count
            if options.rate_limit.per >= timedelta(seconds=1):
                turned.slack = options.rate_limit.per * SLACK
            start = max(it.next_start or now, now)
            if options.max_concurrent is not None:
                room = min(room, turned.permits - turn.held)
            room = min(room, (now + HORIZON - start) // turned.spacing + 1)
            if room <= 0 and start > now + HORIZON:
                turned.wait = start - now - HORIZON / 2
        handed = list(self._next_items(it, turn, max(room, 0), now))
        if handed:
            chunks, items = zip(*handed, strict=True)
            turned.handed = Handed(
                [chunk.id for chunk in chunks],
                [item.index for item in items],
                [item.attempts for item in items],
                [item.key for item in items],
                [item.item for item in items],
            )
            if options.rate_limit is not None:
                turned.start_in = start - now
                it.next_start = start + turned.spacing * len(handed)
                turned.wait = max(it.next_start - now - HORIZON / 2, timedelta())
        elif room > 0 or (turn.want > 0 and turned.permits == 0):
            self._take_back(it, turn)
            await self._judge(it)
            turned.state = it.state
        if turned.wait is None:
            has_more = 0 < len(handed) == most < turn.want
            due = it.until_due(now, is_idle=turn.held == 0)
            turned.wait = timedelta() if has_more else due
        if turn.begins or turn.asks:
            turned.has_rivals = turn.asks and self._store.has_rivals(turn.pump_id)
            if it.claimed < len(it.items) and not it.has_ended():
                await self._call_help(it, turn)
        return turned

    def _next_items(
        self, it: Barrier, turn: PumpTurn, room: int, now: datetime
    ) -> Iterator[tuple[Chunk, Item]]:
        is_idle = turn.held == 0
        waiting = [
            chunk
            for chunk in it.chunks.values()
            if chunk.pump is None and (chunk.due is None or chunk.due <= now)
        ]
        waiting.sort(key=lambda it: (it.deaths > 1, it.due is not None, it.due or now, it.id))
        for chunk in waiting:
            if room <= 0 or (chunk.deaths > 1 and not is_idle):
                return
            left = it.left(chunk)
            if not left:
                del it.chunks[chunk.id]
                continue
            if len(left) > room:
                rest = it.add_chunk(left[room:], chunk.attempts, chunk.deaths)
                rest.due = chunk.due
                left = left[:room]
            chunk.indexes, chunk.pump = left, (turn.pump_id, turn.claim)
            for index in left:
                yield chunk, it.items[index]
            room -= len(left)
            is_idle = False
            if chunk.deaths > 1:
                return
        fresh = range(it.claimed, min(it.claimed + room, len(it.items)))
        it.claimed = fresh.stop if fresh else it.claimed
        open_ = [index for index in fresh if it.items[index].status is ItemStatus.PENDING]
        if open_:
            chunk = it.add_chunk(open_)
            chunk.pump = (turn.pump_id, turn.claim)
            for index in open_:
                yield chunk, it.items[index]

    async def _call_help(self, it: Barrier, turn: PumpTurn) -> None:
        ready, total = self._store.count_assistants(it.new.id)
        if ready == 0 and total < MOST_PUMPS:
            options = it.new.options
            await self._store.add_assistants(
                it.new.id, [HELPS], queue=options.queue, priority=options.priority
            )

    @staticmethod
    def _turned(it: Barrier, *, refused: int) -> Turned:
        return Turned(
            it.state, len(it.items), it.completed, it.failed, it.is_closed, refused=refused
        )
