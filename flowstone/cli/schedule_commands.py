"""``flowstone schedule``: which jobs are enqueued when, and what to do about it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.enqueue_job import job_meant, read_arguments
from flowstone.cli.job_documents import job_document
from flowstone.cli.output import (
    columns,
    is_table,
    note,
    print_document,
    print_items,
    time_text,
)
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application_schedules import Schedules
from flowstone.core.contracts.schedule_store import ScheduleRecord
from flowstone.core.errors import UnknownJobError
from flowstone.core.missed import Missed
from flowstone.core.schedule import POLICIES

name_argument = click.argument("name", metavar="SCHEDULE")


@click.command(cls=Command)
@pass_settings
def ls_command(settings: Settings) -> None:
    """List schedules: those of the code, and those that were added."""

    async def read() -> Sequence[ScheduleRecord]:
        async with opened(settings, by_rows=True) as app:
            return await app.schedules.list()

    records = run_async(read)
    header = ("schedule", "cron", "timezone", "job", "arguments", "next", "last", "source")
    rows = [
        (
            it.name,
            it.cron,
            it.timezone,
            it.job,
            "" if it.arguments == "{}" else it.arguments,
            "paused" if it.paused_at else time_text(it.next_at) or "never",
            time_text(it.last_at),
            it.source,
        )
        for it in records
    ]
    print_items(settings, [_document(it) for it in records], columns(header, rows))


@click.command(cls=Command)
@name_argument
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@pass_settings
def next_command(settings: Settings, name: str, count: int) -> None:
    """Tell the next ticks of a schedule, in its time zone; none while it is paused."""

    async def read() -> tuple[ScheduleRecord, Sequence[datetime]]:
        async with opened(settings, by_rows=True) as app:
            return await app.schedules.get(name), await app.schedules.next(name, count)

    record, ticks = run_async(read)
    items = [{"schedule": record.name, "tick_at": time_text(it)} for it in ticks]
    print_items(settings, items, "\n".join(it.isoformat(" ") for it in ticks))
    if not ticks:
        why = "is paused" if record.paused_at else "has no further tick"
        note(settings, f"schedule {record.name} {why}")


@click.command(cls=Command)
@click.argument("name", metavar="NAME")
@click.argument("cron", metavar="CRON")
@click.argument("job", metavar="JOB")
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=VALUE",
    multiple=True,
    callback=read_arguments,
    help="An argument of the job (VALUE is JSON, or else a text). Repeatable.",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    default="UTC",
    show_default=True,
    help="Whose wall clock CRON is about, such as Europe/Berlin.",
)
@click.option(
    "--missed",
    type=click.Choice(POLICIES),
    default="one",
    show_default=True,
    help="How many jobs make up for ticks that nobody enqueued in time.",
)
@click.option("--queue", help="Where its jobs go; by default where the job says.")
@click.option("--priority", type=int, help="Of its jobs; higher is sooner.")
@pass_settings
def add_command(
    settings: Settings,
    *,
    name: str,
    cron: str,
    job: str,
    arguments: Mapping[str, object],
    timezone: str,
    missed: str,
    queue: str | None,
    priority: int | None,
) -> None:
    """
    Enqueue JOB at the ticks of CRON, until the schedule is removed.

    CRON is one argument: five fields ('0 8 * * MON-FRI'), six with seconds first, or a nickname
    (@daily). The same NAME again changes what was added; it belongs to the pipeline of the job.
    """

    async def work() -> ScheduleRecord:
        async with opened(settings) as app:
            meant = job_meant(app, [job], is_called=True)
            if meant is None:
                raise UnknownJobError(job, app.definitions.jobs)
            return await app.schedules.add(
                name,
                cron,
                meant.with_(**arguments),
                timezone=timezone,
                missed=cast("Missed", missed),
                queue=queue,
                priority=priority,
            )

    _tell(settings, run_async(work))


@click.command(cls=Command)
@name_argument
@pass_settings
def rm_command(settings: Settings, name: str) -> None:
    """Delete a schedule that was added; what it has enqueued stays."""

    async def work() -> ScheduleRecord:
        async with opened(settings, by_rows=True) as app:
            record = await app.schedules.get(name)
            await app.schedules.remove(record.name)
            return record

    record = run_async(work)
    print_document(settings, _document(record), f"schedule {record.name} is removed")


@click.command(cls=Command)
@name_argument
@pass_settings
def pause_command(settings: Settings, name: str) -> None:
    """Let a schedule enqueue nothing until it is resumed; twice is harmless."""
    _tell_changed(settings, name, lambda schedules: schedules.pause(name))


@click.command(cls=Command)
@name_argument
@pass_settings
def resume_command(settings: Settings, name: str) -> None:
    """Let a schedule go on with its next tick; what was missed meanwhile stays so."""
    _tell_changed(settings, name, lambda schedules: schedules.resume(name))


@click.command(cls=Command)
@name_argument
@pass_settings
def trigger_command(settings: Settings, name: str) -> None:
    """Enqueue the job of a schedule now, paused or not, and print its id."""

    async def work() -> None:
        async with opened(settings, by_rows=True) as app:
            handle = await app.schedules.trigger(name)
            document = job_document(await handle.status())
        print_document(settings, document, str(handle.job_id))
        if is_table(settings):
            note(settings, f"job {handle.job_id} enqueued    flowstone job show {handle.job_id}")

    run_async(work)


def _tell_changed(
    settings: Settings, name: str, change: Callable[[Schedules], Awaitable[None]]
) -> None:
    async def work() -> ScheduleRecord:
        async with opened(settings, by_rows=True) as app:
            await change(app.schedules)
            return await app.schedules.get(name)

    _tell(settings, run_async(work))


def _tell(settings: Settings, record: ScheduleRecord) -> None:
    if record.paused_at is not None:
        stands = "is paused"
    elif record.next_at is None:
        stands = "has no further tick"
    else:
        stands = f"comes next at {time_text(record.next_at)}"
    print_document(settings, _document(record), f"schedule {record.name} {stands}")


def _document(record: ScheduleRecord) -> dict[str, object]:
    return {
        "schedule": record.name,
        "pipeline": record.pipeline,
        "job": record.job,
        "arguments": json.loads(record.arguments),
        "queue": record.queue,
        "priority": record.priority,
        "cron": record.cron,
        "timezone": record.timezone,
        "missed": record.missed,
        "source": record.source,
        "paused_at": time_text(record.paused_at),
        "next_at": None if record.paused_at else time_text(record.next_at),
        "last_at": time_text(record.last_at),
        "last_job_id": record.last_job_id,
        "created_at": time_text(record.created_at),
    }
