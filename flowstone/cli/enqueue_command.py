"""``flowstone enqueue``: leave assets or a job to workers, and wait for them if asked to."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.enqueue_job import enqueue_job, job_meant, read_arguments
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, note, print_document
from flowstone.cli.progress import following
from flowstone.cli.request_options import request_options, resolve
from flowstone.cli.run_documents import run_document
from flowstone.cli.run_outcome import show_outcome, waiting
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.errors import UnknownAssetError, UnknownJobError
from flowstone.core.handle import RunHandle
from flowstone.core.job_submission import JobOptions
from flowstone.core.status import RunStatus
from flowstone.core.submission import RunArguments
from flowstone.core.suggestion import suggest

PLAIN: Mapping[str, object] = {
    "partition": None,
    "force": False,
    "with_deps": True,
    "config": None,
    "io": None,
    "dedupe": None,
}
"""What the options that only assets take are when nobody gives them."""


def _read_instant(ctx: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        wrong = f"{text!r} is no ISO 8601 time; write such as 2030-01-15T08:00:00Z"
        raise click.BadParameter(wrong, ctx, option) from error
    if at.tzinfo is None:
        wrong = f"{text!r} has no time zone; write {at.isoformat()}Z, or {at.isoformat()}+01:00"
        raise click.BadParameter(wrong, ctx, option)
    return at


@click.command(cls=Command)
@request_options
@click.option(
    "--arg",
    "arguments",
    metavar="NAME=VALUE",
    multiple=True,
    callback=read_arguments,
    help="An argument of a job (VALUE is JSON, or else a text). Repeatable.",
)
@click.option("--queue", help="Where it all goes; by default where each asset, or the job, says.")
@click.option("--priority", type=int, help="Of the whole run, or the job; higher is sooner.")
@click.option(
    "--at",
    metavar="TIME",
    callback=_read_instant,
    help="Not before this instant: ISO 8601 with a time zone (2025-01-15T08:00Z).",
)
@click.option(
    "--delay",
    metavar="DURATION",
    callback=read_duration,
    help="Of a job: not before so much later.",
)
@click.option("--dedupe", metavar="TEXT", help="A repeat with the same text is the first run.")
@click.option("--wait", is_flag=True, help="Follow the run to its end, and print its value.")
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=read_duration,
    help="The longest to --wait (60s, 10m); then exit with 4. The run goes on.",
)
@pass_settings
def enqueue_command(
    settings: Settings,
    *,
    targets: Sequence[str],
    request: RunArguments,
    arguments: Mapping[str, object],
    queue: str | None,
    priority: int | None,
    at: datetime | None,
    delay: timedelta | None,
    dedupe: str | None,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """
    Leave assets to workers, as one run; or one job. Prints its id.

    TARGET is an asset (pipeline.asset, or its name alone where only one has it), a pipeline: all
    of its assets; or a job, whose arguments are given with --arg. With --wait the value of a
    single target, or the job's result, goes to stdout as JSON, instead of the id.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is how long to --wait; give both")

    async def work() -> ExitCode:
        async with opened(settings) as app:
            job = job_meant(app, targets, is_called=bool(arguments))
            if job is not None:
                _refuse_of_assets({**request, "dedupe": dedupe})
                options = JobOptions(queue=queue, priority=priority, at=at, delay=delay)
                return await enqueue_job(
                    settings, app, job, arguments, options, wait=wait, timeout=timeout
                )
            if delay is not None:
                raise click.UsageError("--delay is of jobs; an asset's run takes --at")
            handle = await app.enqueue_many(
                _assets(app, targets),
                queue=queue,
                priority=priority,
                at=at,
                dedupe=dedupe,
                **request,
            )
            if not handle.created:
                note(settings, f"run {handle.run_id} has the same --dedupe; nothing was enqueued")
            if not wait:
                await tell_enqueued(settings, handle)
                return ExitCode.OK
            async with following(
                settings, app.store, handle.run_id, by_workers=True, remarks=app.remarks
            ):
                with waiting():
                    await handle.wait(timeout)
            record = await handle.status()
            values = None
            if record.status is RunStatus.SUCCEEDED:
                values = await handle.value_of(record)
            return await show_outcome(settings, app, handle, values=values)

    return run_async(work)


def _assets(app: FlowStone, targets: Sequence[str]) -> Sequence[Asset[..., object]]:
    """Return what `resolve` does; an unknown name that is like a job's is told as one."""
    try:
        return resolve(app, targets)
    except UnknownAssetError as error:
        jobs = app.definitions.jobs
        if error.suggestion is None and suggest(error.name, jobs) is not None:
            raise UnknownJobError(error.name, jobs) from error
        raise


def _refuse_of_assets(given: Mapping[str, object]) -> None:
    options = {"with_deps": "no_deps"}
    alien = [options.get(name, name) for name, value in given.items() if value != PLAIN[name]]
    if alien:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in alien)
        raise click.UsageError(f"{names}: of assets; a job does not take it")


async def tell_enqueued(settings: Settings, handle: RunHandle[object]) -> None:
    """Print the id of a run that workers will take, or all of it for machines."""
    record = await handle.status()
    print_document(
        settings, {**run_document(record), "created": handle.created}, str(handle.run_id)
    )
    if is_table(settings):
        note(settings, f"run {handle.run_id} enqueued    flowstone runs watch {handle.run_id}")
