"""``flowstone scatter``: how far fan-outs are, what failed in them, and what limits them."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import columns, note, print_document, print_items, seconds_text, time_text
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core import rate as rates
from flowstone.core.application import FlowStone
from flowstone.plugins.scatter.coordinator import ScatterCoordinator
from flowstone.plugins.scatter.operations import (
    UNCHANGED,
    FailureGroup,
    ScatterChange,
    ScatterOperations,
    ScatterProgress,
)

T = TypeVar("T")

NONE = "none"
PLUGIN = "scatter"

_ids = click.IntRange(1, 2**63 - 1)
scatter_argument = click.argument("scatter", metavar="ID", type=_ids)


@click.command(cls=Command)
@click.option("--run", "run_id", type=_ids, metavar="RUN", help="Only those of one run.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", type=_ids, metavar="ID", help="To page on from.")
@pass_settings
def ls_command(settings: Settings, run_id: int | None, limit: int, before: int | None) -> None:
    """List scatters, newest first, with their pace and the time that is left."""
    found = _ask(settings, lambda it: it.scatters(run_id=run_id, limit=limit, before=before))
    header = ("id", "run", "asset", "status", "done", "failed", "pace", "left", "took")
    rows = [
        (
            it.materialization_id,
            it.run_id,
            f"{it.asset} {it.partition}".rstrip(),
            it.status,
            _done_text(it),
            it.failed or "",
            _pace_text(it),
            "" if it.finished_at else seconds_text(it.seconds_left),
            seconds_text(it.seconds),
        )
        for it in found
    ]
    print_items(settings, [scatter_document(it) for it in found], columns(header, rows))
    if len(found) == limit:
        last = found[-1].materialization_id
        note(settings, f"older ones: flowstone scatter ls --before {last}")


@click.command(cls=Command)
@scatter_argument
@pass_settings
def show_command(settings: Settings, scatter: int) -> None:
    """Show one scatter: how far it is, its limits, and what failed most."""

    async def read(it: ScatterOperations) -> tuple[ScatterProgress, Sequence[FailureGroup]]:
        return await it.progress(scatter), await it.failures(scatter, limit=5)

    found, failures = _ask(settings, read)
    document = scatter_document(found)
    document["failures"] = [failure_document(it) for it in failures]
    text = _text(found)
    if failures:
        text += f"\n\n{_failures_text(failures)}"
    print_document(settings, document, text)


@click.command(cls=Command)
@scatter_argument
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_settings
def failures_command(settings: Settings, scatter: int, limit: int) -> None:
    """List what items of a scatter failed with, equal errors together, the most frequent first."""

    async def read(it: ScatterOperations) -> tuple[ScatterProgress, Sequence[FailureGroup]]:
        return await it.progress(scatter), await it.failures(scatter, limit=limit)

    found, failures = _ask(settings, read)
    if found.items_pruned_at:
        note(settings, _gone_text(found))
    print_items(settings, [failure_document(it) for it in failures], _failures_text(failures))


@click.command(cls=Command)
@scatter_argument
@pass_settings
def retry_command(settings: Settings, scatter: int) -> None:
    """
    Let every item of a scatter that failed be tried again, while the scatter goes on.

    One that has ended stays as it is: flowstone runs retry RUN makes a new run.
    """
    count = _ask(settings, lambda it: it.retry_failed(scatter))
    print_document(settings, {"retried": count}, f"{count} items of scatter {scatter} go again")


@click.command(cls=Command)
@scatter_argument
@click.option("--max-concurrent", metavar="N", help="How many items run at once; none removes it.")
@click.option("--rate", metavar="N/PERIOD", help="How many start in a period; none removes it.")
@click.option(
    "--failure-threshold",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="The share of items that may fail in partial mode: 0.05 is one in twenty.",
)
@pass_settings
def set_command(
    settings: Settings,
    scatter: int,
    max_concurrent: str | None,
    rate: str | None,
    failure_threshold: float | None,
) -> None:
    """
    Change the limits of a scatter while it runs; what is not said stays as it is.

    They hold for all workers from the next items on.
    """
    if max_concurrent is None and rate is None and failure_threshold is None:
        raise click.UsageError("give --max-concurrent, --rate or --failure-threshold")
    change = ScatterChange(
        max_concurrent=UNCHANGED if max_concurrent is None else _read_number(max_concurrent),
        rate=UNCHANGED
        if rate is None
        else None
        if rate == NONE
        else rates.parse(rate, option="--rate"),
        failure_threshold=UNCHANGED if failure_threshold is None else failure_threshold,
    )
    found = _ask(settings, lambda it: it.change(scatter, change))
    print_document(settings, scatter_document(found), _text(found))


@click.command(cls=Command)
@scatter_argument
@pass_settings
def cancel_command(settings: Settings, scatter: int) -> None:
    """Cancel a scatter: no further item starts, what runs is stopped, its asset is cancelled."""

    async def cancel() -> ScatterProgress:
        async with _opened(settings) as app:
            await app.coordinator(ScatterCoordinator).cancel(scatter)
            return await app.coordinator(ScatterOperations).progress(scatter)

    found = run_async(cancel)
    print_document(settings, scatter_document(found), _text(found))


def scatter_document(it: ScatterProgress) -> dict[str, object]:
    """Return a scatter for machines."""
    return {
        "id": it.materialization_id,
        "run_id": it.run_id,
        "asset": it.asset,
        "partition": it.partition,
        "status": it.status,
        "total": it.total,
        "completed": it.completed,
        "failed": it.failed,
        "pending": it.total - it.done,
        "retried": it.retried,
        "expected_total": it.expected_total,
        "is_closed": it.is_closed,
        "is_batched": it.is_batched,
        "percent": it.percent,
        "failure_rate": it.failure_rate,
        "items_per_s": it.items_per_s,
        "seconds": it.seconds,
        "seconds_left": it.seconds_left,
        "max_concurrent": it.max_concurrent,
        "rate": None if it.rate is None else str(it.rate),
        "failure_mode": it.failure_mode,
        "failure_threshold": it.failure_threshold,
        "error": it.error_message,
        "created_at": time_text(it.created_at),
        "finished_at": time_text(it.finished_at),
        "items_pruned_at": time_text(it.items_pruned_at),
    }


def failure_document(it: FailureGroup) -> dict[str, object]:
    """Return a group of failures for machines."""
    return {
        "type": it.error_type,
        "message": it.error_message,
        "items": it.items,
        "first_index": it.first_index,
        "last_failed_at": time_text(it.last_failed_at),
    }


def _ask(settings: Settings, question: Callable[[ScatterOperations], Awaitable[T]]) -> T:
    async def work() -> T:
        async with _opened(settings) as app:
            return await question(app.coordinator(ScatterOperations))

    return run_async(work)


def _opened(settings: Settings) -> AbstractAsyncContextManager[FlowStone]:
    return opened(settings, by_rows=True, plugins=[PLUGIN])


def _text(it: ScatterProgress) -> str:
    what = "batches" if it.is_batched else "items"
    limits = [
        f"at most {it.max_concurrent} at once" if it.max_concurrent else "",
        f"{it.rate}" if it.rate else "",
        f"{it.failure_mode}, {it.failure_threshold:.4g} may fail"
        if it.failure_mode == "partial"
        else it.failure_mode,
    ]
    left = seconds_text(it.seconds_left) if not it.finished_at else ""
    lines = [
        ("scatter", f"{it.materialization_id} of {it.asset} {it.partition}".rstrip()),
        ("run", it.run_id),
        ("status", it.status),
        ("done", f"{_done_text(it)} {what}"),
        ("failed", f"{it.failed:,} ({100 * it.failure_rate:.4g}%)" if it.failed else ""),
        ("tried again", f"{it.retried:,}" if it.retried else ""),
        ("pace", _pace_text(it)),
        ("left", left),
        ("took", seconds_text(it.seconds)),
        ("limits", ", ".join(one for one in limits if one)),
        ("error", it.error_message),
        ("items", _gone_text(it) if it.items_pruned_at else ""),
    ]
    return columns(("", ""), [(name, value) for name, value in lines if value]).strip("\n")


def _gone_text(it: ScatterProgress) -> str:
    return f"gone since {time_text(it.items_pruned_at)}, by retention (items); the counts stay"


def _done_text(it: ScatterProgress) -> str:
    if it.expected_total is None:
        return f"{it.done:,} of {it.total:,} so far"
    return f"{it.done:,}/{it.expected_total:,} {it.percent:.3g}%"


def _pace_text(it: ScatterProgress) -> str:
    return f"{it.items_per_s:,.0f}/s" if it.items_per_s else ""


def _failures_text(failures: Sequence[FailureGroup]) -> str:
    rows = [(it.items, it.error_type, it.error_message, it.first_index) for it in failures]
    return columns(("items", "error", "message", "first"), rows)


def _read_number(text: str) -> int | None:
    if text == NONE:
        return None
    if not text.isdecimal():
        message = f"{text!r} is not a number or none"
        raise click.BadParameter(message, param_hint="--max-concurrent")
    return int(text)
