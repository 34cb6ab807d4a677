"""The part of the memory store that manages queues."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from flowstone.core.contracts.queues import LimitChanges, QueueLimits, QueueRecord, Queues
from flowstone.core.defaults.clock import Clock
from flowstone.core.defaults.memory_admission import Admission, Settings
from flowstone.core.defaults.memory_job_machine import JobMachine
from flowstone.core.defaults.memory_rows import WorkerRow
from flowstone.core.wakeups import Wakeups


class MemoryQueues(Queues):
    """Queues of the machine that also runs materializations."""

    _machine: JobMachine
    _clock: Clock
    _workers: dict[int, WorkerRow]
    wakeups: Wakeups

    async def pause_queue(self, queue: str) -> None:
        settings = self._admission.said(queue)
        settings.paused_at = settings.paused_at or self._clock.now()
        self._changed(queue)

    async def resume_queue(self, queue: str) -> None:
        self._admission.said(queue).paused_at = None
        self._changed(queue)

    async def limit_queue(self, queue: str, **changes: Unpack[LimitChanges]) -> None:
        settings = self._admission.said(queue)
        settings.limits = replace(settings.limits, **changes)
        settings.limits_from = "hand"
        self._changed(queue)

    async def reset_queue_limits(self, queue: str) -> None:
        settings = self._admission.said(queue)
        settings.limits, settings.limits_from = QueueLimits(), None
        self._changed(queue)

    async def declare_queues(self, limits: Mapping[str, QueueLimits]) -> None:
        for queue, said in limits.items():
            settings = self._admission.said(queue)
            if settings.limits_from != "hand":
                settings.limits, settings.limits_from = said, "code"
                self._changed(queue)

    async def scale_queue(self, queue: str, slots: int | None, *, worker: int | None) -> bool:
        if worker is None:
            self._admission.said(queue).slots = slots
        elif worker not in self._workers:
            return False
        elif slots is None:
            self._workers[worker].slots.pop(queue, None)
        else:
            self._workers[worker].slots[queue] = slots
        self._changed(queue)
        return True

    async def slots(self, worker_id: int) -> Mapping[str, int]:
        worker = self._workers.get(worker_id)
        by_queue = {
            name: it.slots for name, it in self._admission.settings.items() if it.slots is not None
        }
        return by_queue | (worker.slots if worker is not None else {})

    async def queues(self, queue: str | None = None) -> Sequence[QueueRecord]:
        now = self._clock.now()
        due: Counter[str] = Counter()
        later: Counter[str] = Counter()
        for row in self._machine.heads.waiting():
            (later if row.due is not None and row.due > now else due)[row.queue] += 1
        for row in self._machine.parked():
            later[row.queue] += 1
        running = self._admission.running
        served = Counter(name for it in self._workers.values() for name in it.info.queues)
        said = self._admission.settings
        known = {*due, *later, *(name for name in running if running[name]), *served, *said}
        records = []
        for name in sorted(known if queue is None else {queue}):
            it = said.get(name, Settings())
            records.append(
                QueueRecord(
                    name,
                    it.paused_at,
                    it.slots,
                    it.limits,
                    it.limits_from,
                    due[name],
                    later[name],
                    running[name],
                    served[name],
                )
            )
        return records

    async def is_drained(self, queue: str) -> bool:
        settings = self._admission.settings.get(queue, Settings())
        is_due = self._machine.heads.has_due(queue, self._clock.now())
        return not self._admission.running[queue] and (settings.paused_at is not None or not is_due)

    @property
    def _admission(self) -> Admission:
        return self._machine.heads.admission

    def _changed(self, queue: str) -> None:
        if queue in self._admission.settings:
            self._admission.settle(queue, self._clock.now())
        self.wakeups.publish("queues")
