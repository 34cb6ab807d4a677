"""``flowstone plan``: what a run would do, and why."""

from collections.abc import Sequence

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import columns, print_items, time_text
from flowstone.cli.request_options import request_options, resolve
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.planner import Action, Decision
from flowstone.core.submission import RunArguments


@click.command(cls=Command)
@request_options
@pass_settings
def plan_command(
    settings: Settings,
    targets: Sequence[str],
    request: RunArguments,
) -> None:
    """
    Say what `flowstone run` with these arguments would compute, what it would reuse, and why.

    TARGET is an asset (pipeline.asset, or its name alone where only one has it), or a pipeline:
    all of its assets. Writes nothing.
    """

    async def decide() -> Sequence[Decision]:
        async with opened(settings) as app:
            return await app.plan(resolve(app, targets), **request)

    decisions = run_async(decide)
    print_items(settings, [_document(it) for it in decisions], _table(decisions))


def _table(decisions: Sequence[Decision]) -> str:
    rows = [(it.key.asset, it.key.partition, it.action, it.reason) for it in decisions]
    running = sum(it.action is Action.RUN for it in decisions)
    skipped = sum(it.action is Action.SKIP for it in decisions)
    counts = f"{running} to run, {len(decisions) - running - skipped} reused"
    counts += f", {skipped} skipped" if skipped else ""
    return f"{columns(('asset', 'partition', 'action', 'why'), rows)}\n{counts}"


def _document(decision: Decision) -> dict[str, object]:
    current = decision.current
    return {
        "asset": decision.key.asset,
        "partition": decision.key.partition or None,
        "action": decision.action.value,
        "reason": decision.reason,
        "materialization_id": current.materialization_id if current else None,
        "materialized_at": time_text(current.materialized_at if current else None),
    }
