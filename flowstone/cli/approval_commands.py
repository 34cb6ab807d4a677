"""``flowstone approval``: what waits for somebody's word, and giving it."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.duration_option import read_duration
from flowstone.cli.output import columns, note, print_document, print_items, time_text
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.application import FlowStone
from flowstone.plugins.checkpoints.coordinator import CheckpointCoordinator
from flowstone.plugins.checkpoints.deciding import HELD, approve, escalate, list_approvals, reject
from flowstone.plugins.checkpoints.errors import ApprovalNotFoundError
from flowstone.plugins.checkpoints.records import Approval
from flowstone.plugins.checkpoints.webhook_notifier import approval_document

PLUGIN = "checkpoints"

approval_argument = click.argument(
    "approval_id", metavar="APPROVAL", type=click.IntRange(1, 2**63 - 1)
)
by_option = click.option("--by", required=True, metavar="NAME", help="Who decides.")
groups_option = click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="A group that this one belongs to."
)
reason_option = click.option("-m", "--reason", default="", help="Why.")


@click.command(cls=Command)
@click.option(
    "--all", "is_all", is_flag=True, help="Also those that are decided, or were cancelled."
)
@click.option("--asset", metavar="NAME", help="Only this asset's, by its full name.")
@click.option("--approver", metavar="NAME", help="Only what this person or group may decide.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option(
    "--before", type=click.IntRange(1, 2**63 - 1), metavar="APPROVAL", help="To page on from."
)
@pass_settings
def ls_command(
    settings: Settings,
    *,
    is_all: bool,
    asset: str | None,
    approver: str | None,
    limit: int,
    before: int | None,
) -> None:
    """List what waits for approval, newest first."""

    async def read() -> Sequence[Approval]:
        async with _opened(settings) as app:
            return await list_approvals(
                app,
                is_open=None if is_all else True,
                asset=asset,
                approver=approver,
                limit=limit,
                before=before,
            )

    found = run_async(read)
    header = ("approval", "run", "asset", "status", "until", "on", "message")
    rows = [
        (
            it.id,
            it.run_id,
            f"{it.asset}[{it.partition}]" if it.partition else it.asset,
            it.status.value if it.status.is_open else it.decision,
            time_text(it.deadline_at) if it.status.is_open else None,
            ", ".join(it.approvers) or "anybody" if it.status.is_open else None,
            it.message,
        )
        for it in found
    ]
    print_items(settings, [document_of(it) for it in found], columns(header, rows))
    if len(found) == limit:
        note(settings, f"older ones: flowstone approval ls --before {found[-1].id}")


@click.command(cls=Command)
@approval_argument
@pass_settings
def show_command(settings: Settings, approval_id: int) -> None:
    """Show one approval: what is held, who may decide, what was decided."""
    _print(
        settings,
        approval_id,
        lambda app: app.coordinator(CheckpointCoordinator).get(approval_id),
    )


@click.command(cls=Command)
@approval_argument
@by_option
@groups_option
@reason_option
@click.option("--value", metavar="JSON", help="Takes the place of the value that is held.")
@pass_settings
def approve_command(
    settings: Settings,
    approval_id: int,
    *,
    by: str,
    groups: Sequence[str],
    reason: str,
    value: str | None,
) -> None:
    """
    Approve what is held: it becomes the asset's value, and its run goes on.

    Done twice by the same one it changes nothing. A --value is checked against the asset's type if
    an application is chosen.
    """
    given = HELD if value is None else _read_json(value)

    async def decide(app: FlowStone) -> Approval:
        return await approve(app, approval_id, by=by, groups=[*groups], reason=reason, value=given)

    _print(settings, approval_id, decide, by_rows=value is None or not settings.chosen_app())


@click.command(cls=Command)
@approval_argument
@by_option
@groups_option
@reason_option
@pass_settings
def reject_command(
    settings: Settings, approval_id: int, *, by: str, groups: Sequence[str], reason: str
) -> None:
    """Reject what is held; the asset fails with the reason, and is not tried again."""
    _print(
        settings,
        approval_id,
        lambda app: reject(app, approval_id, by=by, groups=[*groups], reason=reason),
    )


@click.command(cls=Command)
@approval_argument
@by_option
@groups_option
@click.option(
    "--to", multiple=True, required=True, metavar="NAME", help="Who decides now; give it again."
)
@reason_option
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=read_duration,
    help="How long they have (4h, 2d); as long as the asset says, unless given.",
)
@pass_settings
def escalate_command(
    settings: Settings,
    approval_id: int,
    *,
    by: str,
    groups: Sequence[str],
    to: Sequence[str],
    reason: str,
    timeout: timedelta | None,
) -> None:
    """Let others decide in the place of those who could so far; their time begins now."""

    async def pass_on(app: FlowStone) -> Approval:
        return await escalate(
            app, approval_id, by=by, groups=[*groups], to=[*to], reason=reason, timeout=timeout
        )

    _print(settings, approval_id, pass_on)


def document_of(approval: Approval) -> dict[str, object]:
    """Return an approval for machines."""
    moments = ("requested_at", "deadline_at", "escalated_at", "decided_at")
    return {
        **approval_document(approval),
        **{name: time_text(getattr(approval, name)) for name in moments},
    }


def _print(
    settings: Settings,
    approval_id: int,
    work: Callable[[FlowStone], Awaitable[Approval]],
    *,
    by_rows: bool = True,
) -> None:
    async def done() -> Approval:
        async with _opened(settings, by_rows=by_rows) as app:
            return await work(app)

    try:
        approval = run_async(done)
    except ApprovalNotFoundError as error:
        raise click.UsageError(f"{error}; `flowstone approval ls --all` lists them") from error
    print_document(settings, document_of(approval), _text(approval))


@asynccontextmanager
async def _opened(settings: Settings, *, by_rows: bool = True) -> AsyncIterator[FlowStone]:
    async with opened(settings, by_rows=by_rows, plugins=[PLUGIN]) as app:
        yield app


def _text(approval: Approval) -> str:
    status = approval.status
    lines = [
        (approval.label, status.value if status.is_open else approval.decision),
        ("message", approval.message),
        ("value", approval.value),
        ("in its place", approval.decided_value),
        ("requested", time_text(approval.requested_at)),
    ]
    if status.is_open:
        lines += [
            ("until", time_text(approval.deadline_at) or "for ever"),
            ("on", ", ".join(approval.approvers) or "anybody"),
        ]
    if approval.escalation_count:
        by = approval.escalated_by or "its deadline"
        lines.append(("escalated", f"by {by}, {time_text(approval.escalated_at)}"))
    lines.append(("decided", time_text(approval.decided_at)))
    (label, stands), *facts = lines
    return "\n".join([f"{label}: {stands}", *(f"  {name}: {it}" for name, it in facts if it)])


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}", param_hint="--value") from error
