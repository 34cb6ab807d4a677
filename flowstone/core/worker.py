"""
The loop over a store that computes assets. ``app.run`` is this loop over one run, ``flowstone
worker`` is this loop for ever; there is no other execution path.

Each turn settles what has finished and claims what is next, in one call. When nothing waits, a turn
is immediate; under load completions gather while a turn is under way, with no timer.

A store that cannot be reached is waited for: settlements are kept, and once it answers the worker
asks what it owns and hands back what it does not know: the reply to a claim may have been lost.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from flowstone.core.alarm import Alarm
from flowstone.core.backoff import LONGEST, Backoff
from flowstone.core.contracts.store import (
    Capacity,
    Claim,
    Settlement,
    Store,
    Turn,
    WorkerLostError,
)
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import DatabaseError
from flowstone.core.executor import Executor
from flowstone.core.finished import Finished
from flowstone.core.housekeeping import Housekeeping
from flowstone.core.interventions import tell_malformed
from flowstone.core.loop_watch import LoopWatch
from flowstone.core.recycling import Recycling
from flowstone.core.registration import Registration
from flowstone.core.set_aside import SetAside
from flowstone.core.slots import LANES, Slots
from flowstone.core.status import Event
from flowstone.core.suspects import Suspects
from flowstone.core.underway import Underway
from flowstone.core.wakeups import Changes
from flowstone.core.worker_options import WorkerOptions
from flowstone.core.worker_transactions import WorkerTransactions

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.1
"""How long a turn may take before the other lane does whatever there is to do."""

STOPPED = '{"message": "stopped on request"}'


class Worker:
    """One worker of one store; `run` it once."""

    def __init__(
        self, store: Store, executor: Executor, telemetry: TelemetryEmitter, options: WorkerOptions
    ) -> None:
        self._store = store
        self._executor = executor
        self._telemetry = telemetry
        self._options = options
        self._queues = list(options.by_queue) if options.run_id is None else []
        self._slots = Slots(options.by_queue)
        self._backoff = Backoff()
        self._registration = Registration(
            store, telemetry, options.info(self._queues), self._slots, self._backoff
        )
        self._running = Underway(executor.abort)
        self._suspects = Suspects(lambda id_: store.suspect(self._worker_id, id_))
        self._finished = Finished()
        self._set_aside = SetAside(self._settle_apart, store.locked, executor.not_storable)
        self._transactions = WorkerTransactions(
            store, options.lease, lambda: self._worker_id, self._go_on
        )
        self._turns = 0
        self._hungry = True
        self._is_held = False
        self._rumors = 0
        self._alarm = Alarm(self.look_again)
        self._began = 0.0
        self._joining: asyncio.TimerHandle | None = None
        self._stopping = False
        self._gave_up = False
        self._must_reconcile = False
        self._changes = Changes()
        self._recycling = Recycling(options.max_jobs, options.max_memory, self.stop)

    def stop(self) -> None:
        """Take no more work; `run` returns when what runs has ended or was handed back."""
        self._stopping = True
        self._executor.wind_down()
        self._changes.publish()

    @property
    def is_recycled(self) -> bool:
        """Whether it stopped because it has done enough (``max_jobs``, ``max_memory``)."""
        return self._recycling.is_due

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits to be settled, nor was more due, let through or not."""
        unsettled = self._running or self._finished or self._set_aside
        hungry = self._hungry and self._slots.is_open
        return not (unsettled or self._turns or hungry or self._is_held)

    @property
    def _worker_id(self) -> int:
        return self._registration.worker_id

    async def run(self) -> None:
        """
        Work until stopped, or (``drain``) until nothing is due.

        Raises:
            DatabaseError: One that waiting cannot mend.
        """
        self._transactions.loop = asyncio.get_running_loop()
        await self._store.listen(self._queues)
        await self._registration.begin(lambda: self._stopping)
        try:
            async with self._background():
                lanes = [asyncio.create_task(self._lane()) for _ in range(LANES)]
                try:
                    await asyncio.gather(*lanes)
                finally:
                    for lane in lanes:
                        lane.cancel()
        finally:
            self.stop()
            await self._say_goodbye()

    async def wait_idle(self) -> None:
        """Return at the next moment when `is_idle` holds, or when the worker has stopped."""
        while not (self.is_idle or self._stopping):
            await self._changes.wait()

    def look_again(self) -> None:
        """Say that there may be something to claim."""
        self._hungry, self._rumors = True, self._rumors + 1
        self._changes.publish()

    async def _lane(self) -> None:
        while not self._is_over():
            if self._wants_turn():
                await self._turn()
            else:
                await self._changes.wait()

    def _is_over(self) -> bool:
        if self._options.drain and self.is_idle and not self._must_reconcile:
            self.stop()
        unsettled = self._running or self._finished or self._set_aside
        return self._stopping and not self._turns and (self._gave_up or not unsettled)

    def _wants_turn(self) -> bool:
        free = 0 if self._stopping else self._slots.free
        if self._turns == 0:
            return bool(self._finished) or (self._hungry and free > 0) or self._must_reconcile
        if self._must_reconcile:
            return False
        # The other lane is at it; join in only for a load that is worth a turn of its own, or when
        # that one takes long: it may be behind a lock.
        wanted = max(len(self._finished), free if self._hungry else 0)
        if not wanted:
            return False
        loop = asyncio.get_running_loop()
        patience = self._began + PATIENCE_SECONDS - loop.time()
        if wanted >= self._slots.half or patience <= 0:
            return True
        if self._joining is None:
            self._joining = loop.call_later(patience, self._look_who_waits)
        return False

    def _look_who_waits(self) -> None:
        self._joining = None
        self._changes.publish()

    async def _turn(self) -> None:
        settlements: Sequence[Settlement] = self._finished.next_batch()
        # Even with nothing else in sight: what this turn settles may make successors ready.
        offered = {} if self._stopping else self._slots.offer()
        if self._turns == 0:
            self._began = asyncio.get_running_loop().time()
        self._turns += 1
        worker_id, wishes = self._worker_id, self._running.wishes
        try:
            if self._must_reconcile:
                await self._reconcile(settlements)
                if not (settlements or self._hungry):
                    return
            if self._set_aside and settlements:
                settlements = await self._set_aside.sift(settlements)
            rumors, room = self._rumors, min(offered.values(), default=0)
            turn = await self._store.turn(
                self._worker_id, settlements, self._options.capacity(offered)
            )
            self._take(turn, offered)
            if turn.claims and wishes != self._running.wishes:
                # What somebody asked to stop meanwhile may be what has only just begun here.
                self._store.wakeups.publish("begun")
            self._alarm.set_for(settlements)
            self._is_held = turn.held is not None if offered else self._is_held
            # Less came than there was room for: no more is there, unless somebody said so since.
            is_full = len(turn.claims) + len(turn.malformed) >= room
            self._hungry = is_full or self._rumors != rumors
        except WorkerLostError:
            # Of two turns that were under way, the second to hear of it hears nothing new.
            if worker_id == self._worker_id:
                await self._start_over(settlements)
        except DatabaseError as error:
            await self._recover(error, settlements)
        finally:
            for queue, slots in offered.items():
                self._slots.give_back(queue, slots)
            self._turns -= 1
            self._changes.publish()

    def _take(self, turn: Turn, offered: dict[str, int]) -> None:
        self._backoff.reset()
        if turn.refused:
            logger.warning("Work that was taken over from this worker: %s", list(turn.refused))
            self._telemetry.execute(
                "settlement.rejected",
                {"count": len(turn.refused)},
                {"worker_id": self._worker_id},
            )
        for job in turn.malformed:
            tell_malformed(job)
        for claim in turn.claims:
            if self._stopping or not self._suspects.admit(claim):
                delay = None if self._stopping else self._suspects.delay
                self._finished.add(
                    Settlement(claim.id, claim.claim, Event.HANDED_BACK, delay=delay)
                )
                continue
            offered[self._queue_of(claim)] -= 1
            self._running.begin(claim, self._execute)
            self._recycling.count()
        self._alarm.set_after(turn)

    def _queue_of(self, claim: Claim) -> str:
        return "" if self._options.run_id is not None else claim.queue

    async def _execute(self, claim: Claim, earlier: asyncio.Task[None] | None) -> None:
        settlement: Settlement | None = None
        try:
            if earlier is not None:
                await asyncio.wait([earlier])
            if not claim.is_suspect or await self._suspects.begin(claim):
                settlement = await self._executor.execute(claim, self._transactions)
            else:
                delay = self._suspects.delay
                settlement = Settlement(claim.id, claim.claim, Event.HANDED_BACK, delay=delay)
        except asyncio.CancelledError:
            if self._running.is_asked_to_stop(claim):
                settlement = Settlement(claim.id, claim.claim, Event.CANCELLED, error=STOPPED)
            elif self._stopping:
                settlement = Settlement(claim.id, claim.claim, Event.HANDED_BACK)
            else:
                # Nobody here cancelled it: it was taken over, or the loop is closing.
                return
        except BaseException as error:
            # Not the author's code, which the executor answers for.
            logger.exception("Attempt %s at %s broke down", claim.attempt, claim.asset)
            settlement = self._executor.broken_down(claim, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._end(claim, settlement)

    def _end(self, claim: Claim, settlement: Settlement | None) -> None:
        self._running.end(claim)
        self._suspects.end(claim)
        if settlement is not None:
            self._finished.add(settlement)
        # A thread cannot be stopped: its slot is busy for as long as it is.
        lingering = self._executor.lingering(claim)
        if lingering is None:
            self._slots.give_back(self._queue_of(claim))
        else:
            lingering.add_done_callback(lambda _: self._give_slot_back(claim))
        self._changes.publish()

    def _give_slot_back(self, claim: Claim) -> None:
        self._slots.give_back(self._queue_of(claim))
        self.look_again()

    async def _recover(self, error: DatabaseError, settlements: Sequence[Settlement]) -> None:
        if error.retryable:
            logger.warning("The store does not answer (%s); trying again", error)
            self._finished.put_back(settlements)
            self._must_reconcile = True
        elif settlements:
            self._set_aside.add(settlements)
            return
        else:
            logger.error("The store refuses to hand out work: %s", error)
        await self._backoff.wait()
        self._hungry = True

    async def _settle_apart(self, settlements: Sequence[Settlement]) -> None:
        turn = await self._store.turn(self._worker_id, settlements, Capacity())
        self._go_on(turn, settlements)

    def _go_on(self, turn: Turn, settlements: Sequence[Settlement]) -> None:
        """Mind what became of settlements that went without claiming anything."""
        self._take(turn, {})
        self._alarm.set_for(settlements)
        self.look_again()  # at what they made ready: there was no room for it

    async def _reconcile(self, settlements: Sequence[Settlement]) -> None:
        """Hand back what the store says is ours and we know nothing of; let go of the reverse."""
        unsettled = [*settlements, *self._finished, *self._set_aside]
        known = {(it.id, it.claim) for it in [*self._running.claims, *unsettled]}
        owned = set(await self._store.owned(self._worker_id))
        for it in owned - known:
            self._finished.add(Settlement(*it, Event.HANDED_BACK))
        self._running.let_go(it.id for it in self._running.claims if (it.id, it.claim) not in owned)
        self._must_reconcile = False

    async def _start_over(self, settlements: Sequence[Settlement]) -> None:
        """What this worker owned has gone to others: let go of it, and register again."""
        logger.warning(
            "Worker %s was given up for dead; its %s materializations were taken over",
            self._worker_id,
            len(self._running) + len(settlements),
        )
        self._must_reconcile = True  # No other turn, until we know who we are.
        self._hungry = True
        self._finished.clear()
        self._set_aside.clear()
        self._running.stop_all()
        await self._registration.begin(lambda: self._stopping)
        self._hungry = True

    async def _say_goodbye(self) -> None:
        self._alarm.off()
        if self._joining is not None:
            self._joining.cancel()
        self._running.stop_all()
        await self._running.wait()
        await self._registration.end()

    def _doubt(self) -> None:
        """Ask the store what is ours, before the next turn."""
        self._must_reconcile = True
        self._changes.publish()

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        house = Housekeeping(
            self._store,
            self._options,
            self._telemetry,
            self._running,
            self._slots,
            worker_id=lambda: self._worker_id,
            look_again=self.look_again,
            doubt=self._doubt,
            widen=self._executor.widen,
        )
        duties = [
            house.hear_wakeups(),
            house.keep(),
            self._end_in_time(),
            self._set_aside.keep_trying(),
            self._recycling.watch_memory(),
        ]
        await house.scale()
        tasks = [asyncio.create_task(duty) for duty in duties]
        watch = LoopWatch(lambda: self._running.tasks, house.tell_held, self._options.hang_limit)
        try:
            with watch:
                async with self._store.beating(lambda: self._worker_id, self._options.lease / 3):
                    yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _end_in_time(self) -> None:
        """After a stop, cut short what has not ended in time."""
        while not self._stopping:
            await self._changes.wait()
        await self._running.wait(self._options.shutdown_timeout.total_seconds())
        self._running.stop_all()
        # What cannot be settled even now, because the store is away, goes back with the lease.
        await asyncio.sleep(LONGEST)
        self._gave_up = True
        self._changes.publish()
