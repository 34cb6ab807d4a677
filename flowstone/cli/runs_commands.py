"""``flowstone runs``: what was asked for, what became of it, and what to do about it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.enqueue_command import tell_enqueued
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import columns, note, print_document, print_items, seconds_text, time_text
from flowstone.cli.progress import following
from flowstone.cli.run_documents import (
    counts_text,
    error_text,
    key_text,
    materialization_document,
    reused_document,
    run_document,
    seconds_of,
    targets_text,
)
from flowstone.cli.run_outcome import show_outcome, waiting
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.contracts.store import MaterializationRecord, Reused, RunRecord
from flowstone.core.error_record import read_record
from flowstone.core.errors import FlowStoneError
from flowstone.core.status import RunStatus, Status

run_argument = click.argument("run_id", metavar="RUN", type=click.IntRange(1, 2**63 - 1))


@click.command(cls=Command)
@click.option(
    "--status", type=click.Choice([it.value for it in RunStatus]), help="Only runs that stand so."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option("--before", type=click.IntRange(1, 2**63 - 1), metavar="RUN", help="To page on from.")
@pass_settings
def ls_command(settings: Settings, status: str | None, limit: int, before: int | None) -> None:
    """List runs, newest first."""

    async def read() -> Sequence[RunRecord]:
        async with opened(settings, by_rows=True) as app:
            wanted = RunStatus(status) if status else None
            return await app.store.runs(status=wanted, limit=limit, before=before)

    records = run_async(read)
    header = ("run", "status", "created", "took", "targets", "assets")
    rows = [
        (
            it.run_id,
            it.status,
            time_text(it.created_at),
            seconds_text(seconds_of(it)),
            targets_text(it.targets),
            counts_text(it),
        )
        for it in records
    ]
    print_items(settings, [run_document(it) for it in records], columns(header, rows))
    if len(records) == limit:
        note(settings, f"older ones: flowstone runs ls --before {records[-1].run_id}")


@click.command(cls=Command)
@run_argument
@pass_settings
def show_command(settings: Settings, run_id: int) -> None:
    """
    Show one run: what it computed, what it reused, what failed and why; -v adds tracebacks.

    With an application (--app), also what its plugins have to say, such as what routers selected.
    """

    async def read() -> tuple[RunRecord, Sequence[MaterializationRecord], Sequence[Reused]]:
        async with opened(settings, by_rows=True) as app:
            record = await app.store.run(run_id)
            return (
                record,
                await app.store.materializations(run_id),
                await app.store.reused(run_id),
            )

    record, materializations, reused = run_async(read)
    remarks = run_async(lambda: _remarks(settings, run_id))
    document = {
        **run_document(record),
        "materializations": [
            {**materialization_document(it), "remark": remarks.get(it.id)}
            for it in materializations
        ],
        "reused_values": [reused_document(it) for it in reused],
    }
    text = _text(record, materializations, reused, remarks, with_tracebacks=settings.verbose)
    print_document(settings, document, text)


@click.command(cls=Command)
@run_argument
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=read_duration,
    help="The longest to watch (60s, 10m); then exit with 4. The run goes on.",
)
@pass_settings
def watch_command(settings: Settings, run_id: int, timeout: timedelta | None) -> ExitCode:
    """Follow a run to its end; exits with 1 if it failed or was cancelled."""

    async def work() -> ExitCode:
        async with opened(settings, by_rows=True) as app:
            await app.store.run(run_id)
            handle = app.handle(run_id)
            async with following(settings, app.store, run_id, by_workers=True, remarks=app.remarks):
                with waiting():
                    await handle.wait(timeout)
            return await show_outcome(settings, app, handle)

    return run_async(work)


@click.command(cls=Command)
@run_argument
@pass_settings
def cancel_command(settings: Settings, run_id: int) -> None:
    """
    Cancel what has not started, and ask what runs to stop.

    Done twice, or to a run that has ended, it changes nothing.
    """

    async def work() -> tuple[RunRecord, int]:
        async with opened(settings, by_rows=True) as app:
            count = await app.handle(run_id).cancel()
            return await app.store.run(run_id), count

    record, count = run_async(work)
    if record.status.is_terminal and count == 0:
        told = f"run {run_id} had ended: {record.status}"
    else:
        told = f"run {run_id}: {count} cancelled or asked to stop; now {record.status}"
    print_document(settings, {**run_document(record), "cancelled": count}, told)


@click.command(cls=Command)
@run_argument
@pass_settings
def retry_command(settings: Settings, run_id: int) -> None:
    """
    Enqueue again what a run was for, as a new run; prints its id.

    What succeeded and is still fresh is reused.
    """

    async def work() -> None:
        async with opened(settings) as app:
            await tell_enqueued(settings, await app.retry(run_id))

    run_async(work)


async def _remarks(settings: Settings, run_id: int) -> Mapping[int, str]:
    """Return what plugins say of a run; without an application that works, they say nothing."""
    if settings.chosen_app() is None:
        return {}
    try:
        async with opened(settings) as app:
            return await app.remarks(run_id)
    except (click.UsageError, FlowStoneError) as error:
        note(settings, f"without what plugins have to say: {error}")
        return {}


def _text(
    record: RunRecord,
    materializations: Sequence[MaterializationRecord],
    reused: Sequence[Reused],
    remarks: Mapping[int, str],
    *,
    with_tracebacks: bool,
) -> str:
    ended = f", {seconds_text(seconds_of(record))}" if record.finished_at else ""
    repeats = f", a retry of run {record.retry_of}" if record.retry_of else ""
    head = [
        f"run {record.run_id}  {record.status}  {counts_text(record)}",
        f"created {time_text(record.created_at)}{ended}{repeats}",
        f"for {targets_text(record.targets, most=10)}",
    ]
    if record.options:
        head.append(f"with {record.options}")
    parts = ["\n".join(head)]
    header: tuple[str, ...] = ("asset", "partition", "status", "took", "attempt", "why")
    rows = [_row(it) for it in materializations]
    rows += [(it.key.asset, it.key.partition, "reused", "", "", it.reason) for it in reused]
    if remarks:
        header += ("remark",)
        said = [remarks.get(it.id, "") for it in materializations] + [""] * len(reused)
        rows = [(*row, remark) for row, remark in zip(rows, said, strict=True)]
    if rows:
        parts.append(columns(header, rows))
    for it in materializations:
        trace = read_record(it.error).get("traceback")
        if with_tracebacks and it.status is Status.FAILED and trace:
            parts.append(f"{key_text(it.key)}: {str(trace).rstrip()}")
    return "\n\n".join(parts)


def _row(it: MaterializationRecord) -> tuple[object, ...]:
    seconds = None if it.duration_ms is None else it.duration_ms / 1000
    why = it.reason
    if it.waiting_on:
        why = f"waits for {it.waiting_on}" + (f" ({', '.join(it.whom)})" if it.whom else "")
    elif it.error and it.status is not Status.SUCCEEDED:
        why = error_text(it.error)
    return (
        it.key.asset,
        it.key.partition,
        it.status,
        seconds_text(seconds),
        it.attempt or "",
        why,
    )
