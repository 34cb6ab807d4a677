"""What a worker does beside its turns: hear wake-ups and wishes, take over from the dead, mend."""

import asyncio
import logging
import random
from collections.abc import Callable
from itertools import cycle

from flowstone.core.contracts.store import Store
from flowstone.core.contracts.telemetry_emitter import TelemetryEmitter
from flowstone.core.interventions import reconcile
from flowstone.core.loop_watch import Hold
from flowstone.core.slots import Slots
from flowstone.core.underway import Underway
from flowstone.core.wakeups import EVERYTHING
from flowstone.core.worker_options import WorkerOptions

logger = logging.getLogger(__name__)


class Housekeeping:
    """
    The duties of one worker; each is a coroutine that never returns.

    Args:
        running: What is under way; it is stopped when somebody asks for it.
        slots: The worker's room, which people may change while it runs.
        worker_id: Says who the worker is at the moment.
        look_again: Called when there may be something to claim.
        doubt: Called when the worker should ask the store what it owns.
        widen: Called with the number of slots when that has changed.
    """

    def __init__(
        self,
        store: Store,
        options: WorkerOptions,
        telemetry: TelemetryEmitter,
        running: Underway,
        slots: Slots,
        *,
        worker_id: Callable[[], int],
        look_again: Callable[[], None],
        doubt: Callable[[], None],
        widen: Callable[[int], None],
    ) -> None:
        self._store = store
        self._options = options
        self._telemetry = telemetry
        self._running = running
        self._slots = slots
        self._worker_id = worker_id
        self._look_again = look_again
        self._doubt = doubt
        self._widen = widen

    async def hear_wakeups(self) -> None:
        """Look again when told to, and now and then, as what was said may be lost."""
        poll = self._options.poll_interval.total_seconds()
        topics = [*self._options.topics, "abort", "begun", "intervention", "queues"]
        with self._store.wakeups.watch(topics) as watch:
            await self.scale()
            if self._options.run_id is None:
                await self._reconcile()  # what was noted while nobody listened
            while True:
                heard = await watch.wait(poll * random.uniform(0.8, 1.0))
                if "abort" in heard or EVERYTHING in heard:
                    await self._abort_requested()
                elif "begun" in heard:
                    await self._stop_who_is_asked_to()
                if "intervention" in heard:
                    await self._reconcile()
                    self._doubt()
                if "queues" in heard or EVERYTHING in heard:
                    await self.scale()
                if not heard or heard - {"abort", "begun", "intervention"}:
                    self._look_again()

    async def keep(self) -> None:
        """
        Take over from dead workers, and look for what got lost: stop requests, and claims.

        What a notification tells when it comes is looked for in turns: an idle worker asks the
        database less than once a second.
        """
        interval = self._options.lease.total_seconds() / 2
        for look in cycle((self.scale, self._reconcile)):
            await asyncio.sleep(interval * random.uniform(0.75, 1.0))
            try:
                await self._rescue()
            except Exception as error:
                logger.warning("Housekeeping will be tried again: %s", error)
            await self._abort_requested()
            await look()
            # A turn whose connection was lost may have gone on, and claimed, after we asked.
            self._doubt()

    async def scale(self) -> None:
        """Have as many slots as somebody has said at run time."""
        if self._options.run_id is not None:
            return
        try:
            by_queue = await self._store.slots(self._worker_id())
        except Exception as error:
            logger.warning("How many slots queues have will be looked for again: %s", error)
            return
        if self._slots.scale(by_queue):
            logger.info("This worker's slots are now: %s", self._slots.total)
            self._widen(sum(self._slots.total.values()))
            self._look_again()

    async def _reconcile(self) -> None:
        """Put right what others did to jobs."""
        try:
            if await reconcile(self._store, self._telemetry):
                self._look_again()
        except Exception as error:
            logger.warning("Jobs that others have moved will be looked for again: %s", error)

    def tell_held(self, hold: Hold) -> None:
        """Tell who listens that a body held the event loop."""
        claim = hold.claim
        self._telemetry.execute(
            "loop.held",
            {"duration": hold.seconds * 1000},
            {
                "worker_id": self._worker_id(),
                "asset": claim.asset if claim else None,
                "partition": claim.partition if claim else None,
                "run_id": claim.run_id if claim else None,
                "where": hold.where,
            },
        )

    async def _rescue(self) -> None:
        rescued = await self._store.rescue(
            max_rescues=self._options.max_rescues, rescuer=self._worker_id()
        )
        for worker in rescued:
            count = len(worker.materialization_ids)
            logger.warning("Took %s materializations over from worker %s", count, worker.worker_id)
            self._telemetry.execute("rescue", {"count": count}, {"worker_id": worker.worker_id})
            self._look_again()

    async def _abort_requested(self) -> None:
        self._running.wishes += 1
        await self._stop_who_is_asked_to()

    async def _stop_who_is_asked_to(self) -> None:
        if not self._running:
            return
        try:
            ids = await self._store.aborts(self._worker_id())
        except Exception as error:
            logger.warning("Stop requests will be looked for again: %s", error)
            return
        self._running.stop(ids)
