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
import os
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from flowstone.core.backoff import LONGEST, Backoff
from flowstone.core.contracts.store import (
    Capacity,
    Claim,
    Settlement,
    Store,
    Turn,
    WorkerInfo,
    WorkerLostError,
)
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.errors import DatabaseError
from flowstone.core.executor import Executor
from flowstone.core.finished import Finished
from flowstone.core.slots import LANES, Slots
from flowstone.core.status import Event
from flowstone.core.underway import Underway
from flowstone.core.wakeups import EVERYTHING, Changes
from flowstone.core.worker_options import WorkerOptions

logger = logging.getLogger(__name__)

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
        by_queue = {"": options.slots} if options.run_id is not None else options.queues
        self._queues = [queue for queue in by_queue if queue]
        self._slots = Slots(by_queue)
        self._worker_id = 0
        self._running = Underway(executor.abort)
        self._finished = Finished()
        self._turns = 0
        self._hungry = True
        self._rumors = 0
        self._due: asyncio.TimerHandle | None = None
        self._stopping = False
        self._gave_up = False
        self._must_reconcile = False
        self._changes = Changes()
        self._backoff = Backoff()

    def stop(self) -> None:
        """Take no more work; `run` returns when what runs has ended or was handed back."""
        self._stopping = True
        self._changes.publish()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits to be settled, nor was there more to claim."""
        return not (self._running or self._finished or self._turns or self._hungry)

    async def run(self) -> None:
        """
        Work until stopped, or (``drain``) until nothing is due.

        Raises:
            DatabaseError: One that waiting cannot mend.
        """
        await self._store.listen(self._queues)
        await self._register()
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
        unsettled = self._running or self._finished
        return self._stopping and not self._turns and (self._gave_up or not unsettled)

    def _wants_turn(self) -> bool:
        free = 0 if self._stopping else self._slots.free
        if self._turns == 0:
            return bool(self._finished) or (self._hungry and free > 0) or self._must_reconcile
        if self._must_reconcile:
            return False
        # The other lane is at it; join in only for a load that is worth a turn of its own.
        worth = self._slots.half
        return len(self._finished) >= worth or (self._hungry and free >= worth)

    async def _turn(self) -> None:
        settlements = self._finished.next_batch()
        # Even with nothing else in sight: what this turn settles may make successors ready.
        offered = {} if self._stopping else self._slots.offer()
        self._turns += 1
        try:
            if self._must_reconcile:
                await self._reconcile(settlements)
            rumors, room = self._rumors, min(offered.values(), default=0)
            turn = await self._store.turn(
                self._worker_id, settlements, self._options.capacity(offered)
            )
            self._take(turn, offered)
            self._mind_delays(settlements)
            # Less came than there was room for: nothing more is there, unless somebody has said
            # otherwise while the turn was under way.
            is_full = len(turn.claims) + len(turn.malformed) >= room
            self._hungry = is_full or self._rumors != rumors
        except WorkerLostError:
            await self._start_over(settlements)
        except DatabaseError as error:
            await self._recover(error, settlements)
        finally:
            for queue, slots in offered.items():
                self._slots.give_back(queue, slots)
            self._turns -= 1
            self._changes.publish()

    def _mind_delays(self, settlements: Sequence[Settlement]) -> None:
        """Look again when what was put off by this batch falls due."""
        delays = [it.delay for it in settlements if it.delay is not None]
        if delays:
            self._look_again_in(min(delays))

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
            logger.error("Job %s belongs to no materialization: %s", job.job_id, job.arguments)
        for claim in turn.claims:
            if self._stopping:
                self._finished.add(Settlement(claim.id, claim.claim, Event.HANDED_BACK))
                continue
            offered[self._queue_of(claim)] -= 1
            self._running.begin(claim, self._execute)
        if turn.next_due is not None:
            self._look_again_in(turn.next_due)

    def _queue_of(self, claim: Claim) -> str:
        return "" if self._options.run_id is not None else claim.queue

    def _look_again_in(self, delay: timedelta) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + min(delay.total_seconds(), 3600.0)
        if self._due is not None:
            if loop.time() < self._due.when() <= when:
                return
            self._due.cancel()
        self._due = loop.call_at(when, self.look_again)

    async def _execute(self, claim: Claim, earlier: asyncio.Task[None] | None) -> None:
        settlement: Settlement | None = None
        try:
            if earlier is not None:
                await asyncio.wait([earlier])
            settlement = await self._executor.execute(claim)
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
            await self._settle_in_halves(settlements, error)
            return
        else:
            logger.error("The store refuses to hand out work: %s", error)
        await self._backoff.wait()
        self._hungry = True

    async def _settle_in_halves(
        self, settlements: Sequence[Settlement], error: DatabaseError
    ) -> None:
        """Find the settlement that the store cannot take, and let it fail, or wait, alone."""
        if len(settlements) == 1:
            await self._settle_refused(settlements[0], error)
            return
        half = len(settlements) // 2
        for part in (settlements[:half], settlements[half:]):
            try:
                self._take(await self._store.turn(self._worker_id, part, Capacity()), {})
            except DatabaseError as again:
                if again.retryable:
                    self._finished.put_back(part)
                    self._must_reconcile = True
                else:
                    await self._settle_in_halves(part, again)
        self.look_again()  # at what they made ready: there was no room for it

    async def _settle_refused(self, settlement: Settlement, error: DatabaseError) -> None:
        if error.is_about_data and settlement.event is not Event.FAILED:
            self._finished.add(self._executor.not_storable(settlement, error))
            return
        # A lock that is held too long, a statement that was cancelled: its turn comes again.
        logger.warning("Materialization %s cannot be settled yet: %s", settlement.id, error)
        self._finished.add(settlement)
        await self._backoff.wait()

    async def _reconcile(self, settlements: Sequence[Settlement]) -> None:
        """Hand back what the store says is ours and we know nothing of."""
        ours: list[Claim | Settlement] = [*self._running.claims, *settlements, *self._finished]
        known = {(it.id, it.claim) for it in ours}
        unknown = [
            Settlement(id_, claim, Event.HANDED_BACK)
            for id_, claim in await self._store.owned(self._worker_id)
            if (id_, claim) not in known
        ]
        if unknown:
            await self._store.turn(self._worker_id, unknown, Capacity())
        self._must_reconcile = False
        self._hungry = True

    async def _start_over(self, settlements: Sequence[Settlement]) -> None:
        """What this worker owned has gone to others: let go of it, and register again."""
        logger.warning(
            "Worker %s was given up for dead; its %s materializations were taken over",
            self._worker_id,
            len(self._running) + len(settlements),
        )
        self._must_reconcile = True  # No other turn, until we know who we are.
        self._finished.clear()
        self._running.stop_all()
        await self._register()

    async def _register(self) -> None:
        info = WorkerInfo(socket.gethostname(), os.getpid(), self._queues)
        while True:
            try:
                self._worker_id = await self._store.register_worker(info)
                break
            except DatabaseError as error:
                if not error.retryable or self._stopping:
                    raise
                logger.warning("The store does not answer (%s); trying again", error)
                await self._backoff.wait()
        self._telemetry.execute(
            "worker.start", {}, {"worker_id": self._worker_id, "queues": dict(self._slots.total)}
        )

    async def _say_goodbye(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._running.stop_all()
        await self._running.wait()
        with suppress(DatabaseError):
            await self._store.unregister_worker(self._worker_id)
        self._telemetry.execute("worker.stop", {}, {"worker_id": self._worker_id})

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        duties = [self._hear_wakeups(), self._keep_house(), self._end_in_time()]
        tasks = [asyncio.create_task(duty) for duty in duties]
        try:
            async with self._store.beating(lambda: self._worker_id, self._options.lease / 3):
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear_wakeups(self) -> None:
        topics = [f"queue:{queue}" for queue in self._queues]
        if self._options.run_id is not None:
            topics.append(f"run:{self._options.run_id}")
        poll = self._options.poll_interval.total_seconds()
        with self._store.wakeups.watch([*topics, "abort"]) as watch:
            while True:
                heard = await watch.wait(poll * random.uniform(0.8, 1.0))
                if "abort" in heard or EVERYTHING in heard:
                    await self._abort_requested()
                if heard != {"abort"}:
                    self.look_again()

    async def _keep_house(self) -> None:
        """Take over from dead workers, and look for what got lost: stop requests, and claims."""
        interval = self._options.lease.total_seconds() / 2
        while True:
            await asyncio.sleep(interval * random.uniform(0.5, 1.0))
            try:
                await self._rescue()
                await self._abort_requested()
                # A turn whose connection was lost may have gone on, and claimed, after we asked.
                self._must_reconcile = True
                self._changes.publish()
            except Exception as error:
                logger.warning("Housekeeping will be tried again: %s", error)

    async def _rescue(self) -> None:
        rescued = await self._store.rescue(
            self._options.lease, max_rescues=self._options.max_rescues
        )
        for worker in rescued:
            count = len(worker.materialization_ids)
            logger.warning("Took %s materializations over from worker %s", count, worker.worker_id)
            self._telemetry.execute("rescue", {"count": count}, {"worker_id": worker.worker_id})
            self.look_again()

    async def _abort_requested(self) -> None:
        if not self._running:
            return
        try:
            ids = await self._store.aborts(self._worker_id)
        except Exception as error:
            logger.warning("Stop requests will be looked for again: %s", error)
            return
        self._running.stop(ids)

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
