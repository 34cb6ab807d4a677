"""``flowstone asset sweep``: delete what was written and never committed."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import columns, note, print_items
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.sweep import Swept

HEADER = ("io", "found", "orphans", "bytes", "")


@click.command(cls=Command)
@click.option(
    "--io", "names", metavar="NAME", multiple=True, help="Only this IO manager. Repeatable."
)
@click.option(
    "--older-than",
    metavar="DURATION",
    default="1d",
    show_default=True,
    callback=read_duration,
    help="Leave younger ones.",
)
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would be deleted.")
@pass_settings
def sweep_command(
    settings: Settings, names: Sequence[str], older_than: timedelta, dry_run: bool
) -> ExitCode:
    """
    Delete what IO managers have written and no row knows: orphans of late and of dead attempts.

    Values that are current, superseded or just being written are left alone; so is what another
    database's FlowStone has written in the same place. Workers do this too, now and then.
    """

    async def work() -> list[Swept]:
        async with opened(settings) as app:
            if not names:
                return await app.sweep(grace=older_than, dry_run=dry_run)
            swept = [await app.sweep(it, grace=older_than, dry_run=dry_run) for it in names]
            return [it for part in swept for it in part]

    swept = run_async(work)
    rows = [_row(it) for it in swept]
    items = [{**asdict(it), "dry_run": dry_run} for it in swept]
    print_items(settings, items, columns(HEADER, rows) if rows else "no IO manager to sweep")
    for it in swept:
        for location in it.examples if dry_run else ():
            note(settings, f"would delete from {it.io}: {location}")
    return ExitCode.FAILED if any(it.has_failed for it in swept) else ExitCode.OK


def _row(it: Swept) -> Sequence[object]:
    return (it.io, it.found_count, it.orphan_count, it.orphan_bytes, it.problem or "")
