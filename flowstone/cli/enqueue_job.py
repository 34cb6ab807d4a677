"""``flowstone enqueue`` of a job: its arguments, and its result if that is waited for."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import click

from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.job_documents import job_document
from flowstone.cli.output import is_table, note, print_document, warn
from flowstone.cli.request_options import json_or_text
from flowstone.cli.run_documents import error_text
from flowstone.cli.run_outcome import waiting
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.job_records import JobRecord
from flowstone.core.errors import UnknownJobError
from flowstone.core.job import AnyJob
from flowstone.core.job_submission import JobOptions
from flowstone.core.status import Status


def read_arguments(
    ctx: click.Context, option: click.Parameter, given: Sequence[str]
) -> Mapping[str, object]:
    """Read ``NAME=VALUE`` of an option that may be repeated; to be its callback."""
    arguments: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise click.BadParameter(f"{text!r}: expected NAME=VALUE", ctx, option)
        if name in arguments:
            raise click.BadParameter(f"'{name}' is given twice", ctx, option)
        arguments[name] = json_or_text(value)
    return arguments


def job_meant(app: FlowStone, targets: Sequence[str], *, is_called: bool) -> AnyJob | None:
    """
    Return the job that the targets mean; None: they are assets.

    Args:
        is_called: It was given arguments, and so cannot be an asset.

    Raises:
        UnknownJobError: It cannot be an asset, and there is no such job.
        click.UsageError: A job and something else, or a name that several jobs have.
    """
    jobs = [_find(app, name) for name in targets]
    if len(targets) > 1 and (any(jobs) or is_called):
        raise click.UsageError("a job is enqueued alone; name one TARGET")
    if jobs[0] is None and is_called:
        raise UnknownJobError(targets[0], app.definitions.jobs)
    return jobs[0]


def _find(app: FlowStone, name: str) -> AnyJob | None:
    """Return the job of a full name, or of a name that no asset or pipeline and one job has."""
    definitions = app.definitions
    if (job := definitions.find_job(name)) is not None:
        return job
    taken = {it.name for it in definitions} | definitions.pipelines.keys()
    found = [it for it in definitions.jobs.values() if it.name == name and name not in taken]
    if len(found) > 1:
        names = ", ".join(it.full_name for it in found)
        raise click.UsageError(f"'{name}' is the name of several jobs; say which: {names}")
    return found[0] if found else None


async def enqueue_job(
    settings: Settings,
    app: FlowStone,
    job: AnyJob,
    arguments: Mapping[str, object],
    options: JobOptions,
    *,
    wait: bool,
    timeout: timedelta | None,
) -> ExitCode:
    """
    Enqueue the job and print its id, or its result once it has ended.

    Raises:
        JobArgumentsError: It does not take such arguments.
    """
    handle = await app.enqueue(job.with_(**arguments), **options)
    if wait:
        with waiting():
            await handle.wait(timeout)
        return _tell_end(settings, await handle.status())
    print_document(settings, job_document(await handle.status()), str(handle.job_id))
    if is_table(settings):
        note(settings, f"job {handle.job_id} enqueued    flowstone job show {handle.job_id}")
    return ExitCode.OK


def _tell_end(settings: Settings, record: JobRecord) -> ExitCode:
    is_well = record.status in (Status.SUCCEEDED, Status.SKIPPED)
    why = error_text(record.error)
    told = f"job {record.job_id} {record.status}" + (f": {why}" if why else "")
    if is_well or not record.status.is_terminal:
        note(settings, told)
    else:
        warn(told)
    if not is_table(settings):
        print_document(settings, job_document(record), "")
    elif record.status is Status.SUCCEEDED:
        click.echo("null" if record.result is None else record.result)
    if not record.status.is_terminal:
        return ExitCode.NOT_ENDED
    return ExitCode.OK if is_well else ExitCode.FAILED
