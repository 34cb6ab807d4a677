"""``flowstone queue``: what queues hold, and what is let through."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import cast

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.output import columns, print_document, print_items, time_text
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application_queues import MOST_SLOTS, ApplicationQueues
from flowstone.core.contracts.queues import QueueRecord
from flowstone.core.queue import GivenLimits
from flowstone.core.rate import Rate

queue_argument = click.argument("queue", metavar="QUEUE")
worker_option = click.option(
    "--worker",
    type=click.IntRange(1, 2**63 - 1),
    metavar="ID",
    help="Only this worker, for as long as it lives; `flowstone doctor` and the view workers "
    "have the ids.",
)

NONE = "none"


@click.command(cls=Command)
@pass_settings
def ls_command(settings: Settings) -> None:
    """List the queues that have settings, jobs or workers."""

    async def read() -> Sequence[QueueRecord]:
        async with opened(settings, by_rows=True) as app:
            return await app.queues.list()

    records = run_async(read)
    header = ("queue", "due", "later", "running", "workers", "max running", "rate", "slots", "")
    rows = [
        (
            it.name,
            it.due,
            it.later,
            it.running,
            it.workers,
            it.limits.max_running,
            it.limits.rate,
            it.slots,
            f"paused {time_text(it.paused_at)}" if it.is_paused else "",
        )
        for it in records
    ]
    print_items(settings, [queue_document(it) for it in records], columns(header, rows))


@click.command(cls=Command)
@queue_argument
@pass_settings
def pause_command(settings: Settings, queue: str) -> None:
    """
    Let no worker begin anything of a queue; what runs goes on.

    Followed by `flowstone queue drain` it is quiet: nothing runs any more.
    """
    _change(settings, queue, lambda queues: queues.pause(queue))


@click.command(cls=Command)
@queue_argument
@pass_settings
def resume_command(settings: Settings, queue: str) -> None:
    """End a pause; nothing happens where there is none."""
    _change(settings, queue, lambda queues: queues.resume(queue))


@click.command(cls=Command)
@queue_argument
@click.option(
    "--max-running", metavar="N", help="How many run at once on all workers; none removes it."
)
@click.option(
    "--rate", metavar="N/PERIOD", help="How many start in any period (100/m); none removes it."
)
@click.option("--max-running-per-key", metavar="N", help="How many with one key run at once.")
@click.option("--rate-per-key", metavar="N/PERIOD", help="How many with one key start.")
@click.option(
    "--reset", is_flag=True, help="Give the limits back to code: what queues= says counts again."
)
@pass_settings
def limit_command(settings: Settings, /, queue: str, *, reset: bool, **given: str | None) -> None:
    """
    Limit a queue over all workers together; what is not said stays as it is.

    What the key is, an argument of its jobs, code says: Queue(key="tenant").
    """
    limits = {name: text for name, text in given.items() if text is not None}
    if reset == bool(limits):
        raise click.UsageError("give --max-running, --rate, or both; or --reset alone")
    if reset:
        _change(settings, queue, lambda queues: queues.reset(queue), by_rows=False)
        return
    read = cast("GivenLimits", {name: _read_limit(name, text) for name, text in limits.items()})
    _change(settings, queue, lambda queues: queues.limit(queue, **read))


@click.command(cls=Command)
@queue_argument
@click.argument("slots", metavar="N|default")
@worker_option
@pass_settings
def scale_command(settings: Settings, queue: str, slots: str, worker: int | None) -> None:
    """
    Say how many of a queue run at once on each worker that serves it; default: as it was started.

    0 stops it, on all workers or on one.
    """
    number = None if slots == "default" else _read_slots(slots)
    _change(settings, queue, lambda queues: queues.scale(queue, number, worker=worker))


@click.command(cls=Command)
@queue_argument
@worker_option
@pass_settings
def stop_command(settings: Settings, queue: str, worker: int | None) -> None:
    """Let workers, or one of them, begin nothing of a queue; `scale QUEUE default` undoes it."""
    _change(settings, queue, lambda queues: queues.stop(queue, worker=worker))


@click.command(cls=Command)
@queue_argument
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=read_duration,
    help="The longest to wait (60s, 10m); then exit with 4.",
)
@pass_settings
def drain_command(settings: Settings, queue: str, timeout: timedelta | None) -> None:
    """
    Wait until nothing of a queue runs and nothing is due; of a paused one, until nothing runs.

    What is timed for later does not count.
    """
    _change(settings, queue, lambda queues: queues.drain(queue, timeout=timeout))


def queue_document(record: QueueRecord) -> dict[str, object]:
    """Return a queue for machines."""
    return {
        "queue": record.name,
        "paused_at": time_text(record.paused_at),
        "slots": record.slots,
        "max_running": record.limits.max_running,
        "rate": _text(record.limits.rate),
        "max_running_per_key": record.limits.max_running_per_key,
        "rate_per_key": _text(record.limits.rate_per_key),
        "limits_from": record.limits_from,
        "due": record.due,
        "later": record.later,
        "running": record.running,
        "workers": record.workers,
    }


def _change(
    settings: Settings,
    queue: str,
    change: Callable[[ApplicationQueues], Awaitable[None]],
    *,
    by_rows: bool = True,
) -> None:
    async def work() -> QueueRecord:
        async with opened(settings, by_rows=by_rows) as app:
            await change(app.queues)
            return await app.queues.status(queue)

    record = run_async(work)
    print_document(settings, queue_document(record), _told(record))


def _told(record: QueueRecord) -> str:
    limits = [
        f"at most {record.limits.max_running} at once" if record.limits.max_running else "",
        f"{record.limits.rate}" if record.limits.rate else "",
        f"{most} of a key at once" if (most := record.limits.max_running_per_key) else "",
        f"{rate} of a key" if (rate := record.limits.rate_per_key) else "",
        f"{record.slots} slots a worker" if record.slots is not None else "",
    ]
    said = ", ".join(it for it in limits if it) or "no limits"
    state = "paused" if record.is_paused else "open"
    return (
        f"queue {record.name}: {state}, {said}; "
        f"{record.due} due, {record.later} later, {record.running} running"
    )


def _text(rate: Rate | None) -> str | None:
    return None if rate is None else str(rate)


def _read_limit(name: str, text: str) -> int | str | None:
    if text == NONE:
        return None
    if name.startswith("rate"):
        return text
    if not text.isdecimal():
        option = f"--{name.replace('_', '-')}"
        raise click.BadParameter(f"{text!r} is not a number or none", param_hint=option)
    return int(text)


def _read_slots(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_SLOTS:
        raise click.BadParameter(f"expected 0 to {MOST_SLOTS}, or default", param_hint="N")
    return int(text)
