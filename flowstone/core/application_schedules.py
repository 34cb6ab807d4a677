"""The schedules of an application at run time: ``app.schedules``."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain, islice

from flowstone.core.asset import Location
from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.schedule_store import ScheduleRecord
from flowstone.core.contracts.store import Store
from flowstone.core.definitions import Definitions
from flowstone.core.draft import surroundings
from flowstone.core.errors import (
    InvalidOptionError,
    ScheduleInCodeError,
    ScheduleNotFoundError,
    UnknownJobError,
)
from flowstone.core.job import JobCall
from flowstone.core.job_handle import JobHandle
from flowstone.core.missed import Missed
from flowstone.core.schedule import schedule_of
from flowstone.core.schedule_rows import ScheduleRows


class Schedules:
    """
    What there is of schedules in an application's store, whoever defined them.

    A schedule is known by its full name, ``pipeline.name``; its name alone serves where only one
    has it. They enqueue while a worker runs of an application that has jobs.
    """

    def __init__(
        self, definitions: Definitions, store: Store, codec: Codec, rows: ScheduleRows
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._codec = codec
        self._rows = rows

    async def list(self) -> list[ScheduleRecord]:
        """Return all of them, by name."""
        return [*await self._store.schedules()]

    async def get(self, name: str) -> ScheduleRecord:
        """
        Return one of them.

        Raises:
            ScheduleNotFoundError: There is none of that name.
            InvalidOptionError: Several pipelines have one.
        """
        records = {it.name: it for it in await self._store.schedules()}
        if name in records:
            return records[name]
        namesakes = [full for full in records if full.partition(".")[2] == name]
        if len(namesakes) > 1:
            raise InvalidOptionError(
                f"'{name}' is the name of several schedules; say which: {', '.join(namesakes)}"
            )
        if not namesakes:
            raise ScheduleNotFoundError(name, records)
        return records[namesakes[0]]

    async def add(
        self,
        name: str,
        cron: str,
        call: JobCall[object],
        *,
        timezone: str = "UTC",
        missed: Missed = "one",
        queue: str | None = None,
        priority: int | None = None,
    ) -> ScheduleRecord:
        """
        Add a schedule, or change one that was added before; see `Pipeline.schedule`.

        It belongs to the pipeline of its job, and stays until it is removed. One that is changed
        while it is paused stays paused.

        Raises:
            InvalidOptionError: The cron expression, the time zone or an option is wrong.
            UnknownJobError: The job is of a pipeline that the application was not given.
            ScheduleInCodeError: The code has one of that name.
        """
        around = surroundings()
        schedule = schedule_of(
            name,
            cron,
            call,
            Location(around.f_code.co_filename, around.f_lineno),
            timezone=timezone,
            missed=missed,
            queue=queue,
            priority=priority,
        )
        if self._definitions.jobs.get(call.job.full_name) is not call.job:
            raise UnknownJobError(call.job.full_name, self._definitions.jobs)
        objections = self._rows.objections(schedule)
        if objections:
            raise InvalidOptionError(f"schedule '{name}': {'; '.join(objections)}")
        row = self._rows.row(schedule, await self._store.now())
        if not await self._store.put_schedule(row):
            raise ScheduleInCodeError(row.name)
        return await self.get(row.name)

    async def remove(self, name: str) -> None:
        """
        Delete a schedule that was added at run time; what it has enqueued stays.

        Raises:
            ScheduleInCodeError: It is the code's.
            ScheduleNotFoundError: There is none of that name.
        """
        record = await self.get(name)
        source = await self._store.remove_schedule(record.name)
        if source == "code":
            raise ScheduleInCodeError(record.name)
        self._found(record, source is not None)

    async def pause(self, name: str) -> None:
        """
        Let a schedule enqueue nothing until it is resumed; twice is harmless.

        Raises:
            ScheduleNotFoundError: There is none of that name.
        """
        record = await self.get(name)
        self._found(record, await self._store.pause_schedule(record.name))

    async def resume(self, name: str) -> None:
        """
        Let a schedule go on with its next tick from now; those of the pause are not made up for.

        Raises:
            ScheduleNotFoundError: There is none of that name.
        """
        record = await self.get(name)
        after = await self._store.now()
        first = next(self._rows.ticks(record.cron, record.timezone, after), None)
        self._found(record, await self._store.resume_schedule(record.name, first))

    async def trigger(self, name: str) -> JobHandle[object]:
        """
        Enqueue a schedule's job at once, paused or not; its ticks stay as they are.

        Raises:
            ScheduleNotFoundError: There is none of that name.
        """
        record = await self.get(name)
        job_id = await self._store.trigger_schedule(record.name)
        if job_id is None:
            raise ScheduleNotFoundError(record.name)
        return JobHandle(self._store, self._codec, job_id, object)

    async def next(self, name: str, count: int = 1) -> Sequence[datetime]:
        """
        Return the next ticks, in the schedule's time zone; none while it is paused.

        Raises:
            ScheduleNotFoundError: There is none of that name.
        """
        from zoneinfo import ZoneInfo  # it takes a while to import, and few need it

        record = await self.get(name)
        if record.next_at is None or record.paused_at is not None or count < 1:
            return []
        later = self._rows.ticks(record.cron, record.timezone, record.next_at)
        zone = ZoneInfo(record.timezone)
        ticks = islice(chain([record.next_at], later), count)
        return [it.astimezone(zone) for it in ticks]

    def _found(self, record: ScheduleRecord, is_there: bool) -> None:
        if not is_there:
            raise ScheduleNotFoundError(record.name)
