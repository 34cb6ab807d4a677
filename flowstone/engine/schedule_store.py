"""The part of the Postgres store that keeps schedules; what happens is in ``sql/core``."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flowstone.core.contracts.schedule_store import (
    Advance,
    DueSchedule,
    NewSchedule,
    ScheduleRecord,
    ScheduleSource,
    ScheduleStore,
    Ticked,
)
from flowstone.core.unique_key import OnConflict, UniqueKey
from flowstone.engine.job_queue import STATE_BITS, unique_arrays
from flowstone.engine.rows import Row
from flowstone.engine.store_calls import StoreCalls

PUT_TYPES = (
    "text", "text[]", "text[]", "text[]", "text[]", "text[]", "text[]", "integer[]", "text[]",
    "text[]", "text[]", "timestamptz[]", "text[]", "smallint[]", "bigint[]", "text[]",
)  # fmt: skip
TICK_TYPES = (
    "text[]", "text[]", "text[]", "timestamptz[]", "timestamptz[]", "text[]", "timestamptz[]"
)  # fmt: skip


class PostgresScheduleStore(StoreCalls, ScheduleStore):
    """Schedules in the tables of one schema."""

    async def now(self) -> datetime:
        now: datetime = await self.call_value("flowstone_now_v1", ())
        return now

    async def synchronize_schedules(
        self, pipelines: Sequence[str], schedules: Sequence[NewSchedule]
    ) -> None:
        await self._put("code", pipelines, schedules)

    async def put_schedule(self, schedule: NewSchedule) -> bool:
        return not await self._put("runtime", [], [schedule])

    async def _put(
        self, source: ScheduleSource, pipelines: Sequence[str], schedules: Sequence[NewSchedule]
    ) -> Sequence[Row]:
        return await self.call(
            "flowstone_put_schedules_v1",
            PUT_TYPES,
            source,
            list(pipelines),
            [it.name for it in schedules],
            [it.pipeline for it in schedules],
            [it.job for it in schedules],
            [it.arguments for it in schedules],
            [it.queue for it in schedules],
            [it.priority for it in schedules],
            [it.cron for it in schedules],
            [it.timezone for it in schedules],
            [it.missed for it in schedules],
            [it.next_at for it in schedules],
            *unique_arrays([it.unique for it in schedules]),
        )

    async def remove_schedule(self, name: str) -> ScheduleSource | None:
        found: ScheduleSource | None = await self.call_value(
            "flowstone_remove_schedule_v1", ("text",), name
        )
        return found

    async def pause_schedule(self, name: str) -> bool:
        return bool(await self.call_value("flowstone_pause_schedule_v1", ("text",), name))

    async def resume_schedule(self, name: str, next_at: datetime | None) -> bool:
        types = ("text", "timestamptz")
        return bool(await self.call_value("flowstone_resume_schedule_v1", types, name, next_at))

    async def trigger_schedule(self, name: str) -> int | None:
        job_id: int | None = await self.call_value("flowstone_trigger_schedule_v1", ("text",), name)
        return job_id

    async def schedules(self) -> Sequence[ScheduleRecord]:
        return [_record(row) for row in await self.call("flowstone_schedules_v1", ())]

    async def due_schedules(self, *, limit: int) -> tuple[datetime, Sequence[DueSchedule]]:
        found = await self.call("flowstone_due_schedules_v1", ("integer",), limit)
        due = [
            DueSchedule(row["name"], row["cron"], row["timezone"], row["missed"], row["next_at"])
            for row in found
            if row["name"] is not None
        ]
        return found[0]["now"], due

    async def advance_schedules(self, advances: Sequence[Advance]) -> Sequence[Ticked]:
        read = [it.schedule for it in advances]
        ticks = [(it.schedule.name, tick) for it in advances for tick in it.ticks]
        found = await self.call(
            "flowstone_tick_schedules_v1",
            TICK_TYPES,
            [it.name for it in read],
            [it.cron for it in read],
            [it.timezone for it in read],
            [it.next_at for it in read],
            [it.next_at for it in advances],
            [name for name, _ in ticks],
            [tick for _, tick in ticks],
        )
        return [Ticked(row["schedule"], row["tick"], row["job_id"]) for row in found]


def _record(row: Row) -> ScheduleRecord:
    said = dict(row)
    key, bits = said.pop("unique_key"), said.pop("unique_states")
    window, conflict = said.pop("unique_window_ms"), said.pop("unique_conflict")
    if key is None:
        return ScheduleRecord(**said)
    states = frozenset(state for state, bit in STATE_BITS.items() if bits & bit)
    within = None if window is None else timedelta(milliseconds=window)
    return ScheduleRecord(**said, unique=UniqueKey(key, states, within, OnConflict(conflict)))
