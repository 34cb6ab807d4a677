"""
A schedule: a job's call that is enqueued again and again, at the ticks of a cron expression.

::

    shop.schedule("morning_report", "0 8 * * MON-FRI", report.with_(region="eu"),
                  timezone="Europe/Berlin")

It is a row from when the first worker starts; until then it is only said.
"""

from dataclasses import dataclass, field

from flowstone.core.asset import Location
from flowstone.core.errors import DefinitionError
from flowstone.core.job import JobCall
from flowstone.core.missed import Missed
from flowstone.core.options import OptionReader

POLICIES: tuple[Missed, ...] = ("skip", "one", "all")


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """
    What was said about a schedule; ``pipeline.schedule`` makes it, and so does ``app.schedules``.

    Attributes:
        pipeline: The name of the pipeline that it belongs to.
        queue: None is the job's.
        priority: None is the job's.
        objections: What is wrong with it, as far as that can be seen by itself.
    """

    name: str
    pipeline: str
    cron: str
    call: JobCall[object]
    timezone: str
    missed: Missed
    queue: str | None
    priority: int | None
    source: Location
    objections: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return f"<schedule {self.full_name}: {self.cron}>"

    @property
    def full_name(self) -> str:
        """The pipeline's name and its own, with a dot between; what rows call it."""
        return f"{self.pipeline}.{self.name}"


def schedule_of(
    name: str,
    cron: str,
    call: JobCall[object],
    source: Location,
    *,
    pipeline: str | None = None,
    timezone: str,
    missed: Missed,
    queue: str | None,
    priority: int | None,
) -> Schedule:
    """
    Return the schedule, with what is wrong with it.

    Args:
        pipeline: The name of the one that it belongs to; by default its job's.

    Raises:
        DefinitionError: What it enqueues is no call of a job.
    """
    given: object = call
    if not isinstance(given, JobCall):
        shown = getattr(given, "__name__", "job")
        raise DefinitionError(
            f"{source}  schedule '{name}' enqueues a job's call, such as {shown}.with_(...), "
            f"not {given!r}"
        )
    read = OptionReader()
    texts: dict[str, object] = {"name": name, "cron": cron, "timezone": timezone}
    absent = [option for option, given in texts.items() if given is None]
    checked = {option: read.text(option, given) or "" for option, given in texts.items()}
    objections = [f"{option} has to be said" for option in absent]
    if missed not in POLICIES:
        objections.append(f"missed={missed!r} must be {', '.join(map(repr, POLICIES))}")
    return Schedule(
        checked["name"],
        pipeline or call.job.body.pipeline,
        checked["cron"],
        call,
        checked["timezone"],
        missed,
        read.queue(queue),
        None if priority is None else read.priority(priority),
        source,
        (*read.objections, *objections),
    )
