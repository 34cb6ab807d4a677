"""Which jobs a command is about, said with options; all that is said has to hold."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps

import click

from flowstone.cli.duration_option import read_duration
from flowstone.core.contracts.job_selection import OF_JOBS
from flowstone.core.job_operations import Chosen
from flowstone.core.status import Status


def selection_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options; the command gets ``chosen``, the arguments of `JobOperations.find`."""

    @wraps(command)
    def packed(
        *args: object,
        ids: Sequence[int],
        job: str | None,
        queue: str | None,
        status: Sequence[str],
        older_than: timedelta | None,
        newer_than: timedelta | None,
        **rest: object,
    ) -> object:
        chosen = Chosen(
            ids=ids or None,
            job=job,
            queue=queue,
            status=status or None,
            older_than=older_than,
            newer_than=newer_than,
        )
        return command(*args, chosen=chosen, **rest)

    for decorate in reversed(
        (
            click.option("--queue", metavar="NAME", help="Of this queue."),
            click.option(
                "--status",
                multiple=True,
                type=click.Choice([it.value for it in Status if it in OF_JOBS]),
                help="That stand so. Repeatable: any of them.",
            ),
            click.option(
                "--job",
                metavar="NAME",
                callback=_read_name,
                help="Of this name, with that of its pipeline: shop.send_mail.",
            ),
            click.option(
                "--older-than",
                metavar="DURATION",
                callback=read_duration,
                help="Ended so long ago (1h, 7d), or enqueued if it has not ended.",
            ),
            click.option(
                "--newer-than",
                metavar="DURATION",
                callback=read_duration,
                help="Ended, or enqueued, less long ago.",
            ),
            click.option(
                "--id",
                "ids",
                metavar="ID",
                multiple=True,
                type=click.IntRange(1, 2**63 - 1),
                help="This one. Repeatable.",
            ),
        )
    ):
        packed = decorate(packed)
    return packed


def _read_name(ctx: click.Context, option: click.Parameter, text: str | None) -> str | None:
    if text is not None and "." not in text:
        raise click.BadParameter(f"{text!r}: give the full name, PIPELINE.{text}", ctx, option)
    return text
