"""From a schedule to a row: what it means is checked, its arguments encoded, its time read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from flowstone.core.contracts.codec import Codec
from flowstone.core.contracts.cron_parser import CronParser
from flowstone.core.contracts.schedule_store import NewSchedule
from flowstone.core.errors import InvalidOptionError, JobArgumentsError
from flowstone.core.job import JobCall
from flowstone.core.json_value import JsonText
from flowstone.core.planner import DEFAULT_QUEUE
from flowstone.core.schedule import Schedule
from flowstone.core.unique_key import OnConflict, UniqueKey

ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class ScheduleRows:
    """
    Makes rows of schedules.

    Args:
        cron: Gives the parser; it is asked for when there is something to parse.
        limit_keys: By queue the argument that its limits per key go by.
    """

    def __init__(
        self, codec: Codec, cron: Callable[[], CronParser], limit_keys: Mapping[str, str]
    ) -> None:
        self._codec = codec
        self._cron = cron
        self._limit_keys = limit_keys

    def objections(self, schedule: Schedule) -> Sequence[str]:
        """Return what is wrong with a schedule; nothing when all is well."""
        if schedule.objections:
            return schedule.objections
        found = []
        try:
            first = next(self.ticks(schedule.cron, schedule.timezone, ANY_TIME), None)
            if first is None:
                found.append(f"cron {schedule.cron!r} is never met")
        except InvalidOptionError as error:
            found.append(str(error))
        try:
            schedule.call.job.arguments.encode(schedule.call.arguments, self._codec)
        except JobArgumentsError as error:
            found.append(str(error))
        job = schedule.call.job
        if job.options.lane is not None:
            found.append(f"'{job.full_name}' is in a lane; schedules know none")
        queue = schedule.queue or job.options.queue or DEFAULT_QUEUE
        key = self._limit_keys.get(queue)
        if key in {it.parameter for it in job.body.signature.own_arguments}:
            found.append(f"it goes to '{queue}', which has limits per {key}; schedules know none")
        return found

    def row(self, schedule: Schedule, now: datetime) -> NewSchedule:
        """Return the row of a schedule that is well, with its first tick after now."""
        call = schedule.call
        options = call.job.options
        arguments = call.job.arguments.encode(call.arguments, self._codec)
        return NewSchedule(
            schedule.full_name,
            schedule.pipeline,
            call.job.full_name,
            arguments,
            schedule.queue or options.queue or DEFAULT_QUEUE,
            options.priority if schedule.priority is None else schedule.priority,
            schedule.cron,
            schedule.timezone,
            schedule.missed,
            next(self.ticks(schedule.cron, schedule.timezone, now), None),
            self._key(call, arguments),
        )

    def _key(self, call: JobCall[object], arguments: JsonText) -> UniqueKey | None:
        unique = call.job.options.unique
        if unique is None:
            return None
        key = call.job.arguments.key(call.arguments, arguments, unique, self._codec)
        # There is nobody to raise to: then the job that is there is the tick's, too.
        raises = key.on_conflict is OnConflict.RAISE
        return key._replace(on_conflict=OnConflict.EXISTING) if raises else key

    def ticks(self, cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
        """Return the ticks after an instant; see `CronParser.ticks`."""
        return self._cron().ticks(cron, timezone, after)
