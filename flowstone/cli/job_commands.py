"""``flowstone job``: which jobs there are, what became of them, and what to do about it."""

from collections.abc import Awaitable, Callable, Sequence

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.job_documents import attempt_document, job_document, job_text, jobs_table
from flowstone.cli.job_selection_options import selection_options
from flowstone.cli.output import note, print_document, print_items
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.job_records import FailedAttempt, JobRecord
from flowstone.core.contracts.job_selection import JobChange
from flowstone.core.job_operations import Chosen

DONE = {
    JobChange.RETRY: "ready to run again",
    JobChange.CANCEL: "cancelled or asked to stop",
    JobChange.DELETE: "deleted",
}


@click.command(cls=Command)
@selection_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", type=click.IntRange(1, 2**63 - 1), metavar="ID", help="To page on from.")
@pass_settings
def ls_command(settings: Settings, chosen: Chosen, limit: int, before: int | None) -> None:
    """List jobs, newest first."""

    async def read() -> Sequence[JobRecord]:
        async with opened(settings, by_rows=True) as app:
            return await app.jobs.find(limit=limit, before=before, **chosen)

    records = run_async(read)
    print_items(settings, [job_document(it) for it in records], jobs_table(records))
    if len(records) == limit:
        note(settings, f"older ones: --before {records[-1].job_id}")


@click.command(cls=Command)
@click.argument("job_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@pass_settings
def show_command(settings: Settings, job_id: int) -> None:
    """Show one job: its arguments, where it is, its result, and each failed attempt."""

    async def read() -> tuple[JobRecord, Sequence[FailedAttempt]]:
        async with opened(settings, by_rows=True) as app:
            handle = app.job(job_id)
            return await handle.status(), await handle.failed_attempts()

    record, attempts = run_async(read)
    document = {
        **job_document(record),
        "failed_attempts": [attempt_document(it) for it in attempts],
    }
    print_document(settings, document, job_text(record, attempts))


def _changing(command: Callable[..., object]) -> click.Command:
    """Return a command that changes the jobs that are chosen."""
    for decorate in (
        pass_settings,
        click.option("--dry-run", is_flag=True, help="Change nothing; say how many it would be."),
        click.option("--all", "every", is_flag=True, help="Every job, if nothing else is said."),
        selection_options,
    ):
        command = decorate(command)
    return click.command(cls=Command)(command)


@_changing
def retry_command(settings: Settings, chosen: Chosen, every: bool, dry_run: bool) -> None:
    """
    Let jobs that have ended run again, and those that wait for their time run now.

    They keep their ids, and their attempts are counted on: each runs once more at least, and as
    often as its policy has attempts left. What runs is left alone.
    """
    _change(settings, JobChange.RETRY, chosen, every=every, dry_run=dry_run)


@_changing
def cancel_command(settings: Settings, chosen: Chosen, every: bool, dry_run: bool) -> None:
    """Cancel jobs that have not started, and ask those that run to stop."""
    _change(settings, JobChange.CANCEL, chosen, every=every, dry_run=dry_run)


@_changing
def rm_command(settings: Settings, chosen: Chosen, every: bool, dry_run: bool) -> None:
    """Delete jobs that do not run, ended or not, with their results and errors."""
    _change(settings, JobChange.DELETE, chosen, every=every, dry_run=dry_run)


def _change(
    settings: Settings, change: JobChange, chosen: Chosen, *, every: bool, dry_run: bool
) -> None:
    is_said = any(value is not None for value in chosen.values())
    if not is_said and not every:
        raise click.UsageError("which jobs? Give --status, --queue, --job, --id, an age, or --all")
    if is_said and every:
        raise click.UsageError("--all is every job; leave it out, or the rest")

    async def work() -> int:
        async with opened(settings, by_rows=True) as app:
            return await _verb(app, change)(every=every, dry_run=dry_run, **chosen)

    count = run_async(work)
    jobs = f"{count} job" if count == 1 else f"{count} jobs"
    told = f"{'would be ' if dry_run else ''}{DONE[change]}"
    print_document(settings, {"jobs": count, "dry_run": dry_run}, f"{jobs} {told}")


def _verb(app: FlowStone, change: JobChange) -> Callable[..., Awaitable[int]]:
    return {
        JobChange.RETRY: app.jobs.retry,
        JobChange.CANCEL: app.jobs.cancel,
        JobChange.DELETE: app.jobs.delete,
    }[change]
