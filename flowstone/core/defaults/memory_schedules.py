"""The part of the memory store that keeps schedules."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime

from flowstone.core.contracts.job_queue import NewJob
from flowstone.core.contracts.schedule_store import (
    Advance,
    DueSchedule,
    NewSchedule,
    ScheduleRecord,
    ScheduleSource,
    ScheduleStore,
    Ticked,
)
from flowstone.core.defaults.memory_job_queue import MemoryJobQueue
from flowstone.core.wakeups import Wakeups


class MemorySchedules(MemoryJobQueue, ScheduleStore):
    """Schedules by name, in this process."""

    wakeups: Wakeups

    def __init__(self) -> None:
        super().__init__()
        self._schedules: dict[str, ScheduleRecord] = {}

    async def now(self) -> datetime:
        return self._clock.now()

    async def synchronize_schedules(
        self, pipelines: Sequence[str], schedules: Sequence[NewSchedule]
    ) -> None:
        before = dict(self._schedules)
        names = {it.name for it in schedules}
        for name, record in before.items():
            if record.source == "code" and record.pipeline in pipelines and name not in names:
                del self._schedules[name]
        for schedule in schedules:
            self._put(schedule, "code")
        if self._schedules != before:
            self.wakeups.publish("schedules")

    async def put_schedule(self, schedule: NewSchedule) -> bool:
        known = self._schedules.get(schedule.name)
        if known is not None and known.source == "code":
            return False
        self._put(schedule, "runtime")
        self.wakeups.publish("schedules")
        return True

    def _put(self, schedule: NewSchedule, source: ScheduleSource) -> None:
        record = ScheduleRecord(
            **{it.name: getattr(schedule, it.name) for it in fields(schedule)},
            source=source,
            created_at=self._clock.now(),
            paused_at=None,
            last_at=None,
            last_job_id=None,
        )
        known = self._schedules.get(schedule.name)
        if known is not None:
            record.created_at, record.paused_at = known.created_at, known.paused_at
            record.last_at, record.last_job_id = known.last_at, known.last_job_id
            has_same_time = (known.cron, known.timezone) == (record.cron, record.timezone)
            if has_same_time and known.next_at is not None:
                record.next_at = known.next_at
        self._schedules[schedule.name] = record

    async def remove_schedule(self, name: str) -> ScheduleSource | None:
        known = self._schedules.get(name)
        if known is None:
            return None
        if known.source == "runtime":
            del self._schedules[name]
            self.wakeups.publish("schedules")
        return known.source

    async def pause_schedule(self, name: str) -> bool:
        known = self._schedules.get(name)
        if known is None:
            return False
        known.paused_at = known.paused_at or self._clock.now()
        self.wakeups.publish("schedules")
        return True

    async def resume_schedule(self, name: str, next_at: datetime | None) -> bool:
        known = self._schedules.get(name)
        if known is None:
            return False
        if known.paused_at is not None:
            known.paused_at, known.next_at = None, next_at
        self.wakeups.publish("schedules")
        return True

    async def trigger_schedule(self, name: str) -> int | None:
        known = self._schedules.get(name)
        return None if known is None else await self._enqueue_tick(known, None)

    async def schedules(self) -> Sequence[ScheduleRecord]:
        return [replace(self._schedules[name]) for name in sorted(self._schedules)]

    async def due_schedules(self, *, limit: int) -> tuple[datetime, Sequence[DueSchedule]]:
        now = self._clock.now()
        found = sorted(
            (
                DueSchedule(it.name, it.cron, it.timezone, it.missed, it.next_at)
                for it in self._schedules.values()
                if it.paused_at is None and it.next_at is not None
            ),
            key=lambda it: (it.next_at, it.name),
        )
        until = max(now, found[0].next_at) if found else now
        return now, [it for it in found if it.next_at <= until][:limit]

    async def advance_schedules(self, advances: Sequence[Advance]) -> Sequence[Ticked]:
        now = self._clock.now()
        own = [it for it in advances if self._is_as_read(it.schedule, now)]
        ticked: list[Ticked] = []
        for tick_at, name in sorted((tick, it.schedule.name) for it in own for tick in it.ticks):
            known = self._schedules[name]
            job_id = await self._enqueue_tick(known, tick_at)
            known.last_at = tick_at
            ticked.append(Ticked(name, tick_at, job_id))
        for it in own:
            self._schedules[it.schedule.name].next_at = it.next_at
            if not it.ticks:
                ticked.append(Ticked(it.schedule.name, None, None))
        return ticked

    def _is_as_read(self, read: DueSchedule, now: datetime) -> bool:
        known = self._schedules.get(read.name)
        return (
            known is not None
            and known.paused_at is None
            and (known.next_at, known.cron, known.timezone)
            == (read.next_at, read.cron, read.timezone)
            and read.next_at <= now
        )

    async def _enqueue_tick(self, schedule: ScheduleRecord, tick_at: datetime | None) -> int:
        job = NewJob(
            schedule.job,
            schedule.arguments,
            schedule.queue,
            schedule.priority,
            unique=schedule.unique,
        )
        [enqueued] = await self.enqueue([job])
        if enqueued.created:
            row = self._machine.rows[enqueued.job_id]
            row.schedule, row.tick_at = schedule.name, tick_at
        schedule.last_job_id = enqueued.job_id
        return enqueued.job_id
