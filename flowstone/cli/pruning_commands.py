"""``flowstone db prune`` and ``size``: what is kept, and what no longer."""

from datetime import timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.database import database
from flowstone.cli.db_commands import chosen_application
from flowstone.cli.duration_option import read_duration
from flowstone.cli.output import columns, print_document, print_items
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.contracts.pruning_records import Pruned
from flowstone.core.retention import Retention

UNITS = ("B", "kB", "MB", "GB")


@click.command(cls=Command)
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=read_duration,
    help="Whatever ended or was replaced so long ago, failed or not; at least 1h. Without it the "
    "application's own policy counts.",
)
@click.option(
    "--dry-run", is_flag=True, help="Delete nothing; say how many runs, jobs and items would go."
)
@pass_settings
def prune_command(settings: Settings, older_than: timedelta | None, dry_run: bool) -> None:
    """
    Delete what is kept no longer: runs with all that only they hold, items, jobs, replaced values.

    Current values, what they were made from, what is open and what it needs stay. Workers do this
    too, all the time; at once as well, it does no harm. It goes in small batches with pauses, so
    that work goes on, and may be stopped anywhere.
    """
    chosen = None
    if older_than:
        chosen = Retention(
            older_than,
            failed=older_than,
            values=older_than,
            items=older_than,
            jobs=older_than,
            failed_jobs=older_than,
        )

    async def work() -> tuple[dict[str, object], str]:
        # Without a period of its own it needs an application: another policy may keep more.
        async with opened(settings, by_rows=chosen is not None) as app:
            retention = chosen or app.retention
            if retention is None:
                return {**Pruned().counts()}, "this application keeps everything (retention=None)"
            if dry_run:
                prunable = await app.store.prunable(retention)
                counts = {str(it): count for it, count in prunable.runs.items()}
                total = sum(counts.values())
                listed = ", ".join(f"{count} {it}" for it, count in counts.items() if count)
                return (
                    {"runs": total, **counts, "jobs": prunable.jobs, "items": prunable.items},
                    f"would delete {total} runs"
                    + (f" ({listed})" if listed else "")
                    + f", {prunable.jobs} jobs and {prunable.items} items",
                )
            from flowstone.core.pruning import prune

            went = (await prune(app.store, retention)).counts()
            return {**went}, "deleted " + ", ".join(f"{n} {what}" for what, n in went.items())

    document, text = run_async(work)
    print_document(settings, {**document, "dry_run": dry_run}, text)


@click.command(cls=Command)
@pass_settings
def size_command(settings: Settings) -> None:
    """Say how large each table is, with its indexes, and what keeps it from growing."""
    from flowstone.engine.table_sizes import table_sizes

    app = chosen_application(settings)
    with database(settings, app) as place:
        sizes = table_sizes(place.dsn, place.schema, tables=app.tables if app else {})
    items = [
        {
            "table": it.table,
            "rows": it.row_count,
            "rows_are_estimated": it.is_estimate,
            "bytes": it.total_bytes,
            "index_bytes": it.index_bytes,
            "bound": it.bound,
        }
        for it in sizes
    ]
    rows = [
        (
            it.table,
            f"~{it.row_count}" if it.is_estimate else it.row_count,
            size_text(it.total_bytes),
            size_text(it.index_bytes),
            it.bound,
        )
        for it in sizes
    ]
    total = ("", "", size_text(sum(it.total_bytes for it in sizes)), "", "")
    header = ("table", "rows", "size", "indexes", "what bounds it")
    print_items(settings, items, columns(header, [*rows, total]))


def size_text(count: int) -> str:
    """Return a number of bytes for people."""
    size = float(count)
    for unit in UNITS:
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
