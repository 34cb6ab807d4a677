"""
The part of a store that keeps schedules: which job is enqueued when, again and again.

What a cron expression means is worked out above; a store keeps the next tick of each schedule, and
moves it on in the step that enqueues.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from flowstone.core.json_value import JsonText
from flowstone.core.missed import Missed
from flowstone.core.unique_key import UniqueKey

ScheduleSource: TypeAlias = Literal["code", "runtime"]


@dataclass(slots=True)
class NewSchedule:
    """
    A schedule to keep.

    Attributes:
        name: Its full name, which no other has.
        pipeline: Whose it is.
        job: The full name of the job to enqueue.
        arguments: What the job's function is called with; a JSON object.
        next_at: Its first tick; None is never. One that is kept already, and whose cron and
            timezone are the same, goes on with its own.
        unique: What keeps others out, of a unique job; it has to let a key that is held be.
    """

    name: str
    pipeline: str
    job: str
    arguments: JsonText
    queue: str
    priority: int
    cron: str
    timezone: str
    missed: Missed
    next_at: datetime | None
    unique: UniqueKey | None = None


@dataclass(slots=True)
class ScheduleRecord:
    """
    A schedule as it is kept.

    Attributes:
        source: ``code`` is kept as its pipeline has it; ``runtime`` was added by hand.
        next_at: The next tick, also of one that is paused; None is never again.
        last_at: The last tick that a job was enqueued for.
        last_job_id: That job, or one that was triggered by hand since.
    """

    name: str
    pipeline: str
    job: str
    arguments: JsonText
    queue: str
    priority: int
    cron: str
    timezone: str
    missed: Missed
    source: ScheduleSource
    created_at: datetime
    paused_at: datetime | None
    next_at: datetime | None
    last_at: datetime | None
    last_job_id: int | None
    unique: UniqueKey | None = None


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """What has to be known of a schedule to enqueue its ticks."""

    name: str
    cron: str
    timezone: str
    missed: Missed
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Advance:
    """
    A step of one schedule.

    Attributes:
        schedule: As it was read; it counts only while that is how it is.
        ticks: Those to enqueue a job for, in their order.
        next_at: The tick after; None is never again.
    """

    schedule: DueSchedule
    ticks: Sequence[datetime]
    next_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ticked:
    """
    What one step of a schedule did.

    Attributes:
        tick_at: The tick; None when there was none to enqueue a job for.
        job_id: Its job, or the one that holds the key that this would have had.
    """

    name: str
    tick_at: datetime | None
    job_id: int | None


class ScheduleStore(ABC):
    """
    Schedules of one store.

    Every method is one atomic step. A topic ``schedules`` is published when one has changed, other
    than by `advance_schedules`.
    """

    @abstractmethod
    async def now(self) -> datetime:
        """Return the store's own time."""

    @abstractmethod
    async def synchronize_schedules(
        self, pipelines: Sequence[str], schedules: Sequence[NewSchedule]
    ) -> None:
        """
        Keep these as the ones that the code of these pipelines has.

        Others that their code had are deleted. What was added at run time is left alone, unless the
        code has one of its name; what is paused stays so.
        """

    @abstractmethod
    async def put_schedule(self, schedule: NewSchedule) -> bool:
        """
        Add a schedule at run time, or change one; False when it is the code's, and stays so.

        One that is paused stays so.
        """

    @abstractmethod
    async def remove_schedule(self, name: str) -> ScheduleSource | None:
        """Delete one that was added at run time; returns the source of what was found."""

    @abstractmethod
    async def pause_schedule(self, name: str) -> bool:
        """Let it enqueue nothing; False when there is none of that name. Twice is harmless."""

    @abstractmethod
    async def resume_schedule(self, name: str, next_at: datetime | None) -> bool:
        """
        Let it go on with this tick; False when there is none of that name.

        One that was not paused keeps the tick that it has.
        """

    @abstractmethod
    async def trigger_schedule(self, name: str) -> int | None:
        """Enqueue its job at once, for no tick; return the job's id, or None without a schedule."""

    @abstractmethod
    async def schedules(self) -> Sequence[ScheduleRecord]:
        """Return all of them, by name."""

    @abstractmethod
    async def due_schedules(self, *, limit: int) -> tuple[datetime, Sequence[DueSchedule]]:
        """
        Return the store's time, and the first schedules that are due then, by their ticks.

        Where fewer are due, what comes next is among them, so that it is known when to look again.
        """

    @abstractmethod
    async def advance_schedules(self, advances: Sequence[Advance]) -> Sequence[Ticked]:
        """
        Enqueue a job for each tick and move the schedules on, all in one step.

        One that is no longer as it was read (another has enqueued the tick, it was changed or
        paused) or that is not due is left alone, and is not in what is returned.
        """
