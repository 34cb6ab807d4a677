"""What a run came to: one line on stderr, the value or the document on stdout, the exit code."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, note, print_document, seconds_text, warn
from flowstone.cli.run_documents import counts_text, key_text, record_text, run_document, seconds_of
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import Key, RunRecord
from flowstone.core.errors import (
    HandleTimeoutError,
    JobNotEndedError,
    RunWaiting,
    ValueNotStorableError,
)
from flowstone.core.handle import RunHandle
from flowstone.core.status import RunStatus


@contextmanager
def waiting() -> Iterator[None]:
    """Wait for a run or a job inside; that it does not end is told, and no error."""
    try:
        yield
    except (HandleTimeoutError, JobNotEndedError, RunWaiting) as not_ended:
        warn(str(not_ended))


async def show_outcome(
    settings: Settings,
    app: FlowStone,
    handle: RunHandle[object],
    *,
    values: Sequence[object] | None = None,
) -> ExitCode:
    """
    Tell what has become of a run.

    Args:
        values: Those of the targets, if they are wanted: one is printed as JSON.
    """
    record = await handle.status()
    tell_summary(settings, record, kept=app.store.is_durable)
    failures = await handle.failures() if record.status is RunStatus.FAILED else []
    if settings.quiet and record.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        warn(f"error: run {record.run_id} {record.status}")
        for it in failures:
            warn(f"  {key_text(Key(it.asset, it.partition))}: {record_text(it.error)}")
    if is_table(settings):
        if values is not None and len(values) == 1:
            click.echo(_json_text(app, values[0]))
    else:
        document = run_document(record)
        document["failures"] = [
            {"asset": it.asset, "partition": it.partition or None, "error": it.error}
            for it in failures
        ]
        if values is not None:
            document["values"] = [_json_value(app, value) for value in values]
        print_document(settings, document, "")
    if not record.status.is_terminal:
        return ExitCode.NOT_ENDED
    return ExitCode.OK if record.status is RunStatus.SUCCEEDED else ExitCode.FAILED


def tell_summary(settings: Settings, record: RunRecord, *, kept: bool = True) -> None:
    """Tell how a run stands in one line, and how to see more of it."""
    seconds = seconds_of(record)
    parts = [f"run {record.run_id} {record.status}", counts_text(record)]
    if seconds is not None:
        parts.append(seconds_text(seconds))
    if kept:
        parts.append(f"  flowstone runs show {record.run_id}")
    note(settings, "  ".join(parts))


def _json_text(app: FlowStone, value: object) -> str:
    try:
        return app.codec.encode(value)
    except ValueNotStorableError:
        # An IO manager may keep what is no JSON; then there is only its name to show.
        return json.dumps(f"<{type(value).__qualname__}>")


def _json_value(app: FlowStone, value: object) -> object:
    return json.loads(_json_text(app, value))
