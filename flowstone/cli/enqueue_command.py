"""``flowstone enqueue``: leave assets to workers, and wait for them if asked to."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, note, print_document
from flowstone.cli.progress import following
from flowstone.cli.request_options import request_options, resolve
from flowstone.cli.run_documents import run_document
from flowstone.cli.run_outcome import show_outcome, waiting
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.handle import RunHandle
from flowstone.core.status import RunStatus
from flowstone.core.submission import RunArguments


def _read_instant(ctx: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no ISO 8601 time: {error}", ctx, option) from error


@click.command(cls=Command)
@request_options
@click.option("--queue", help="Where the whole run goes; by default where each asset says.")
@click.option("--priority", type=int, help="Of the whole run; higher is sooner.")
@click.option(
    "--at",
    metavar="TIME",
    callback=_read_instant,
    help="Not before this instant: ISO 8601 with a time zone (2025-01-15T08:00Z).",
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
    queue: str | None,
    priority: int | None,
    at: datetime | None,
    dedupe: str | None,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """
    Leave assets to workers, as one run; prints its id.

    TARGET is an asset (pipeline.asset, or its name alone where only one has it), or a pipeline:
    all of its assets. With --wait the value of a single target goes to stdout as JSON, instead of
    the id.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is how long to --wait; give both")

    async def work() -> ExitCode:
        async with opened(settings) as app:
            handle = await app.enqueue_many(
                resolve(app, targets),
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
            async with following(settings, app.store, handle.run_id, by_workers=True):
                with waiting():
                    await handle.wait(timeout)
            record = await handle.status()
            values = None
            if record.status is RunStatus.SUCCEEDED:
                values = await handle.value_of(record)
            return await show_outcome(settings, app, handle, values=values)

    return run_async(work)


async def tell_enqueued(settings: Settings, handle: RunHandle[object]) -> None:
    """Print the id of a run that workers will take, or all of it for machines."""
    record = await handle.status()
    print_document(
        settings, {**run_document(record), "created": handle.created}, str(handle.run_id)
    )
    if is_table(settings):
        note(settings, f"run {handle.run_id} enqueued    flowstone runs watch {handle.run_id}")
