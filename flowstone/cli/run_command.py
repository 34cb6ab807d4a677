"""``flowstone run``: compute here and now."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import note
from flowstone.cli.progress import following
from flowstone.cli.request_options import request_options, resolve
from flowstone.cli.run_outcome import show_outcome, waiting
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.errors import RunCancelledError, RunFailedError
from flowstone.core.submission import RunArguments


@click.command(cls=Command)
@request_options
@click.option("--memory", is_flag=True, help="Without any database; nothing is kept.")
@pass_settings
def run_command(
    settings: Settings,
    targets: Sequence[str],
    request: RunArguments,
    memory: bool,
) -> ExitCode:
    """
    Compute assets in this process, upstreams first; what is fresh is reused.

    TARGET is an asset (pipeline.asset, or its name alone where only one has it), or a pipeline:
    all of its assets. The value of a single target goes to stdout as JSON.

    The run is kept in the database: workers may help, and finish it if this process dies.
    """

    async def work() -> ExitCode:
        async with opened(settings, memory=memory) as app:
            handle = await app.enqueue_many(resolve(app, targets), **request)
            values: list[object] | None = None
            try:
                async with following(settings, app.store, handle.run_id, remarks=app.remarks):
                    with waiting(), _failures_told_once(settings):
                        values = await app.finish(handle)
            except (RunFailedError, RunCancelledError):
                pass  # told below
            except asyncio.CancelledError:
                if not memory:
                    note(settings, _how_it_goes_on(handle.run_id))
                raise
            return await show_outcome(settings, app, handle, values=values)

    return run_async(work)


@contextmanager
def _failures_told_once(settings: Settings) -> Iterator[None]:
    """Keep failures out of the log, as progress tells of them; -v has both, for the tracebacks."""

    def is_news(record: logging.LogRecord) -> bool:
        return settings.verbose or not str(record.msg).startswith("FlowStone error in ")

    logger = logging.getLogger("flowstone.asset")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _how_it_goes_on(run_id: int) -> str:
    return (
        f"stopped; run {run_id} goes on when a worker takes it (flowstone worker); "
        f"to end it: flowstone runs cancel {run_id}"
    )
