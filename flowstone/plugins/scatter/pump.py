"""
One pump of a scatter: takes items that are handed out, runs them, reports what they came to.

::

    coordinator.turn ──items──▶ queue ──as permitted──▶ tasks ──outcomes──▶ coordinator.turn
                                                         (any order, any subset of what it has)

A few turns are under way at once, so that the store works while items run; under load a turn
carries a thousand outcomes, otherwise one waits for company for a moment. A slow item holds up
nothing but itself. A pump gives its place up when something else waits for it, when its worker
stops, and when there is nothing more to do; what it has then goes back.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from flowstone.core.backoff import Backoff
from flowstone.core.errors import DatabaseError
from flowstone.core.outcome import Outcome, Skipped, Snoozed
from flowstone.plugins.scatter.body import Body
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.held_chunks import HeldChunks
from flowstone.plugins.scatter.permits import Permits
from flowstone.plugins.scatter.pump_place import (
    AHEAD_SECONDS,
    CHUNK_ITEMS,
    HALF,
    HEAR_SECONDS,
    HOLD_SECONDS,
    LANES,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    SETTLE_SECONDS,
    SLICE_SECONDS,
    Piece,
    PumpPlace,
)
from flowstone.plugins.scatter.records import BarrierState, ItemOutcome, PumpTurn, Turned
from flowstone.plugins.scatter.slots import Slots
from flowstone.plugins.scatter.stopping import stop_all
from flowstone.plugins.scatter.time_limit import TimeLimit
from flowstone.plugins.scatter.timers import Timers
from flowstone.plugins.scatter.turn_size import for_one_turn

logger = logging.getLogger("flowstone.scatter")


class Pump:
    """Works for one barrier, under one claim; `run` it once."""

    def __init__(
        self,
        place: PumpPlace,
        coordinator: ScatterCoordinator,
        body: Body,
        told: Callable[[ItemOutcome], None] | None = None,
    ) -> None:
        self._place = place
        self._coordinator = coordinator
        self._body = body
        self._told = told
        self._queue: deque[Piece] = deque()
        self._running: dict[asyncio.Task[None], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_beginning = False
        self._limit = TimeLimit(place.timeout, place.runs_in)
        self._outcomes: list[ItemOutcome] = []
        self._oldest = 0.0
        self._held = HeldChunks()
        self._changed = asyncio.Event()
        self._permits = Permits(place.most_at_once)
        self._slots = Slots()
        self._ahead = min(HALF, place.max_concurrent or HALF)
        self._turns = 0
        self._turned_at = 0.0
        self._asked = 0
        self._hungry = True
        self._idle_since = 0.0
        self._slice_ends = 0.0
        self._yield_until = 0.0
        self._ending: Outcome | None = None
        self.state = BarrierState.EXECUTING
        self._finished = 0
        self._backoff = Backoff()
        self._timers = Timers()
        self._is_starting = False

    def look_again(self) -> None:
        """Say that there are items which were not there before."""
        self._hungry = True
        self._changed.set()

    async def run(self) -> Outcome:
        """Work until there is no more to do, or others want the place; say how to go on."""
        self._slice_ends = time.monotonic() + SLICE_SECONDS
        watch = asyncio.create_task(self._watch())
        lanes: list[asyncio.Task[None]] = []
        try:
            await self._turn(begins=True)
            lanes = [asyncio.create_task(self._lane()) for _ in range(LANES)]
            await asyncio.gather(*lanes)
        finally:
            await stop_all([watch, *lanes])
            await self._give_back()
        return self._ending or Skipped()

    async def _lane(self) -> None:
        while not self._is_over():
            if self._wants_turn():
                await self._turn()
            else:
                self._changed.clear()
                if not (self._is_over() or self._wants_turn()):
                    await self._changed.wait()
        self._changed.set()

    def _is_over(self) -> bool:
        if self.state.is_terminal or self._ending is None:
            return self.state.is_terminal
        return not (self._running or self._outcomes or self._turns)

    # Turns

    def _wants_turn(self) -> bool:
        finished, now = len(self._outcomes), time.monotonic()
        if self._turns >= LANES:
            return False
        room = self._room(now) if self._hungry else 0
        if self._turns == 0:
            is_starved = room > 0 and len(self._queue) <= self._ahead // 2
            is_ripe = finished > 0 and self._is_ripe(finished, now)
            # Of slow items alone it would never hear that limits were changed.
            return is_starved or is_ripe or now >= self._turned_at + HEAR_SECONDS
        return finished >= HALF or room >= HALF

    def _is_ripe(self, finished: int, now: float) -> bool:
        return finished >= HALF or not self._running or now >= self._oldest + SETTLE_SECONDS

    def _room(self, now: float) -> int:
        """Return how many items to ask for."""
        if self._ending is not None or now < self._yield_until:
            return 0
        held = len(self._queue) + len(self._running) + self._asked
        # One that may run nothing looks for items all the same: it may be permitted with them.
        room = min(CHUNK_ITEMS, max(self._permits.count + self._ahead, 1) - held)
        # Permits say more than the limit that it began with where that has been raised since.
        return max(0, min(room, max(self._place.max_concurrent or room, self._permits.count)))

    async def _turn(self, *, begins: bool = False) -> None:
        now = time.monotonic()
        want = self._place.first_room if begins else self._room(now)
        outcomes, self._outcomes = for_one_turn(self._outcomes)
        finished = self._held.take_finished()
        asks = now >= self._slice_ends
        self._slice_ends = now + SLICE_SECONDS if asks else self._slice_ends
        report = self._report(outcomes, finished)
        self._turns += 1
        self._turned_at = now
        self._asked += want
        try:
            report.want, report.begins, report.asks = want, begins, asks
            turned = await self._coordinator.turn(report)
        except DatabaseError as error:
            if not error.retryable:
                raise
            # What a lost answer handed out is known to nobody here: all goes back in the end.
            logger.warning("A scatter's store does not answer (%s); trying again", error)
            self._outcomes[:0] = outcomes
            self._held.put_back(finished)
            self._take_permits(report, None)
            self._end_with(Snoozed(timedelta(seconds=1)))
            await self._backoff.wait()
        else:
            self._backoff.reset()
            self._held.settle(outcomes)
            self._take_permits(report, turned.permits)
            self._take(turned, want, now)
        finally:
            self._asked -= want
            self._turns -= 1
            self._changed.set()

    def _report(self, outcomes: list[ItemOutcome], finished: list[int]) -> PumpTurn:
        coming = len(self._queue) + self._asked
        # Also of one without a limit: it may be given one while it runs.
        wanted, running = self._permits.ask(len(self._running), coming)
        return PumpTurn(
            self._place.barrier_id,
            self._place.pump_id,
            self._place.claim,
            outcomes,
            finished,
            held=len(self._queue) + len(self._running),
            running=running,
            wanted_permits=wanted,
        )

    def _take_permits(self, report: PumpTurn, permits: int | None) -> None:
        if report.wanted_permits is not None and self._permits.answered(permits):
            self.look_again()

    def _take(self, turned: Turned, want: int, now: float) -> None:
        self.state = turned.state
        if turned.refused:
            logger.warning("%s results came too late; others have them", turned.refused)
        if turned.state.is_terminal:
            self._stop_items()
            return
        self._body.total = turned.total if turned.is_closed else None
        handed = turned.handed
        if handed.indexes:
            self._held.add(handed.chunk_ids)
            self._queue.extend(self._slots.pieces(turned, now, time.monotonic()))
        if want and len(handed.indexes) < want:
            self._go_hungry(turned, now)
        elif want:
            self._hungry, self._idle_since = True, 0.0
        if turned.wait is not None:
            self._timers.add(turned.wait.total_seconds() + 0.001, self.look_again)
        if turned.has_rivals and self._ending is None:
            self._yield_until = now + 2 * SLICE_SECONDS
            self._timers.add(2 * SLICE_SECONDS, self._changed.set)
        self._fill()
        self._mind_the_place(turned)

    def _go_hungry(self, turned: Turned, now: float) -> None:
        """Less came than there was room for: look again when there may be more."""
        self._hungry = False
        longest = PATIENCE_SECONDS if turned.is_closed else LOOK_SECONDS
        if self._place.has_rate or not self._permits.count:
            longest = LOOK_SECONDS / 2
        wait = longest if turned.wait is None else turned.wait.total_seconds()
        self._timers.add(min(max(wait, 0.001), longest), self.look_again)
        if self._queue or self._running or self._place.is_fed():
            self._idle_since = 0.0
        elif not self._idle_since:
            self._idle_since = now

    def _mind_the_place(self, turned: Turned) -> None:
        """Give the place up if there is no reason to keep it."""
        if self._place.is_wanted_back():
            self._end_with(Snoozed(timedelta(0)))
        if self._queue or self._running or self._turns > 1:
            return
        if time.monotonic() < self._yield_until:
            self._end_with(Snoozed(timedelta(seconds=SLICE_SECONDS)))
        elif self._idle_since and not self._place.is_fed():
            if turned.wait is None and turned.is_closed and self._permits.count > 0:
                self._end_with(Skipped())
            elif time.monotonic() - self._idle_since > PATIENCE_SECONDS:
                self._end_with(Snoozed(turned.wait or timedelta(seconds=1)))

    def _end_with(self, outcome: Outcome) -> None:
        if self._ending is None:
            self._ending = outcome
            self._queue.clear()
            self._changed.set()

    # Items

    def _fill(self) -> None:
        """
        Let what may run now be taken up.

        A task takes one item after the other; the next task is begun only when there is something
        left for it. So items that never wait cost no task each, and those that do run at once.
        """
        if self._queue and not self._is_beginning and len(self._running) < self._permits.count:
            self._is_beginning = True
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        queue, running, run = self._queue, self._running, self._body.run
        permits, limit = self._permits, self._limit
        self._is_beginning = False
        held_since = time.monotonic()
        while queue and len(running) < permits.count:
            now = time.monotonic()
            if queue[0].start_at > now:
                self._start_in(queue[0].start_at - now)
                return
            if now - held_since > HOLD_SECONDS:
                # Others on the event loop have their turn.
                await asyncio.sleep(0)
                held_since = time.monotonic()
                continue
            piece = queue.popleft()
            if now > piece.late_at:
                self._settle_later(piece.returned())
                continue
            running[task] = now + limit.seconds
            if limit.waits:
                limit.wait(running, task, now)
            self._fill()
            try:
                outcome = await run(piece.chunk_id, piece.item_index, piece.attempts, piece.item)
            except asyncio.CancelledError:
                if not limit.has_stopped(task):
                    running.pop(task, None)
                    raise
                outcome = piece.returned()
                if limit.has_begun(task):
                    outcome = self._body.timed_out(*piece[:3], limit.limit)
            # Where the function keeps that to itself, the next item has its own time all the same.
            limit.has_stopped(task)
            del running[task]
            self._end(outcome)
        self._changed.set()

    def _start_in(self, seconds: float) -> None:
        if not self._is_starting:
            self._is_starting = True
            self._timers.add(seconds, self._start)

    def _start(self) -> None:
        self._is_starting = False
        self._fill()

    def _end(self, outcome: ItemOutcome) -> None:
        self._settle_later(outcome)
        self._finished += 1
        if self._told is not None:
            self._told(outcome)

    def _settle_later(self, outcome: ItemOutcome) -> None:
        if not (outcomes := self._outcomes):
            self._oldest = time.monotonic()
            self._timers.add(SETTLE_SECONDS, self._changed.set)
        outcomes.append(outcome)
        if len(outcomes) >= HALF or len(self._queue) <= self._ahead // 2:
            self._changed.set()

    def _stop_items(self) -> None:
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        self._changed.set()

    # Time

    async def _watch(self) -> None:
        """Mind what time brings: a worker that stops, items that take too long, a rate."""
        counted = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            per_second = (self._finished - counted) / LOOK_SECONDS
            counted = self._finished
            if self._place.max_concurrent is not None:
                wanted = max(self._permits.count, int(per_second * AHEAD_SECONDS))
                self._ahead = 0 if self._place.has_rate else min(CHUNK_ITEMS, wanted)
            if self._place.is_wanted_back():
                self._end_with(Snoozed(timedelta(0)))
            self._limit.stop(self._running, time.monotonic())
            self._changed.set()

    async def _give_back(self) -> None:
        """Stop what runs, report what has ended, give the rest back; also when cancelled."""
        self._timers.cancel()
        self._queue.clear()
        await stop_all(list(self._tasks))
        if self.state.is_terminal:
            return
        last = asyncio.create_task(self._last_turn())
        try:
            turned = await asyncio.shield(last)
        except DatabaseError as error:
            logger.warning("A pump could not give back what it has (%s); it will be missed", error)
            self._go_on_in(timedelta(seconds=1))
        except asyncio.CancelledError:
            await asyncio.wait([last], timeout=5)
            raise
        else:
            self.state = turned.state
            if turned.wait is not None:
                self._go_on_in(turned.wait)

    async def _last_turn(self) -> Turned:
        while True:
            outcomes, self._outcomes = for_one_turn(self._outcomes)
            report = self._report(outcomes, self._held.take_finished())
            report.ends = not self._outcomes
            turned = await self._coordinator.turn(report)
            if report.ends:
                return turned

    def _go_on_in(self, wait: timedelta) -> None:
        """Do not end for good: answers that others overtook can say that there is nothing to do."""
        if not isinstance(self._ending, Snoozed):
            self._ending = Snoozed(wait)
