"""What a run came to: one line on stderr, the value or the document on stdout, the exit code."""

import json
from collections.abc import Sequence

import click

from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import is_table, note, print_document, seconds_text, warn
from flowstone.cli.run_documents import counts_text, error_text, key_text, run_document, seconds_of
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.core.contracts.store import RunRecord
from flowstone.core.errors import ValueNotStorableError
from flowstone.core.handle import RunHandle
from flowstone.core.status import RunStatus, Status


async def show_outcome(
    settings: Settings,
    app: FlowStone,
    handle: RunHandle[object],
    *,
    values: Sequence[object] | None = None,
) -> ExitCode:
    """
    Tell what became of a run that has ended.

    Args:
        values: Those of the targets, if they are wanted: one is printed as JSON.
    """
    record = await handle.status()
    tell_summary(settings, record, kept=app.store.is_durable)
    succeeded = record.status is RunStatus.SUCCEEDED
    if settings.quiet and not succeeded:
        await _tell_failures(app, record)
    if is_table(settings):
        if succeeded and values is not None and len(values) == 1:
            click.echo(_json_text(app, values[0]))
    else:
        document = run_document(record)
        if succeeded and values is not None:
            document["values"] = [_json_value(app, value) for value in values]
        print_document(settings, document, "")
    return ExitCode.OK if succeeded else ExitCode.FAILED


def tell_summary(settings: Settings, record: RunRecord, *, kept: bool = True) -> None:
    """Tell how a run stands in one line, and how to see more of it."""
    seconds = seconds_of(record)
    parts = [f"run {record.run_id} {record.status}", counts_text(record)]
    if seconds is not None:
        parts.append(seconds_text(seconds))
    if kept:
        parts.append(f"  flowstone runs show {record.run_id}")
    note(settings, "  ".join(parts))


async def _tell_failures(app: FlowStone, record: RunRecord) -> None:
    warn(f"error: run {record.run_id} {record.status}")
    for it in await app.store.materializations(record.run_id):
        if it.status is Status.FAILED:
            warn(f"  {key_text(it.key)}: {error_text(it.error)}")


def _json_text(app: FlowStone, value: object) -> str:
    try:
        return app.codec.encode(value)
    except ValueNotStorableError:
        # An IO manager may keep what is no JSON; then there is only its name to show.
        return json.dumps(f"<{type(value).__qualname__}>")


def _json_value(app: FlowStone, value: object) -> object:
    return json.loads(_json_text(app, value))
