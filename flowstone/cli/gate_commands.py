"""``flowstone gate``: which gates are open, and the signal that one waits for."""

import getpass
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import columns, note, print_document, print_items, time_text
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core.errors import ValueNotReadableError, ValueNotStorableError
from flowstone.core.json_value import JsonValue
from flowstone.plugins.signal_gate.coordinator import Answer, Answered, Gate, GateCoordinator
from flowstone.plugins.signal_gate.errors import GateNotFoundError
from flowstone.plugins.signal_gate.signaling import signal_text

PLUGIN = "signal_gate"

token_argument = click.argument("token", metavar="TOKEN")


@click.command(cls=Command)
@click.option("--asset", metavar="NAME", help="Only of this asset, by its full name.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, help="How many at most.")
@pass_settings
def ls_command(settings: Settings, asset: str | None, limit: int) -> None:
    """List open gates, earliest deadline first."""

    async def read() -> Sequence[Gate]:
        async with _gates(settings) as gates:
            return await gates.waiting(asset=asset, limit=limit)

    found = run_async(read)
    header = ("token", "asset", "partition", "run", "since", "until", "retries")
    rows = [
        (
            it.token,
            it.asset,
            it.partition,
            it.run_id,
            time_text(it.opened_at),
            time_text(it.timeout_at) or "ever",
            it.timeout_retries or "",
        )
        for it in found
    ]
    print_items(settings, [_document(it) for it in found], columns(header, rows))
    if len(found) == limit:
        note(settings, "there may be more: --limit")


@click.command(cls=Command)
@token_argument
@pass_settings
def show_command(settings: Settings, token: str) -> None:
    """Show the gate of a token: what it waits for, what came, from whom."""

    async def read() -> Gate | None:
        async with _gates(settings) as gates:
            return await gates.find(token)

    found = run_async(read)
    if found is None:
        raise GateNotFoundError(token)
    print_document(settings, _document(found), _text(found))


@click.command(cls=Command)
@token_argument
@click.option(
    "-d",
    "--data",
    default="null",
    metavar="JSON|@FILE",
    help="The payload: JSON, @file, or @- for stdin; null if not said.",
)
@pass_settings
def signal_command(settings: Settings, token: str, data: str) -> None:
    """
    Send the signal of a gate, by the gate's own token.

    It is checked as on_signal takes it. One that comes before its gate is open is kept for it.
    """
    text = _payload(data)

    async def send() -> Answered:
        async with opened(settings) as app:
            sender: JsonValue = {"user": _user(), "by": "flowstone gate signal"}
            return await signal_text(app, token, text, sender=sender)

    try:
        answered = run_async(send)
    except (ValueNotReadableError, ValueNotStorableError) as error:
        raise click.BadParameter(str(error), param_hint="--data") from error
    document = {"token": token, "answer": answered.answer.value}
    said = {
        Answer.ACCEPTED: "accepted",
        Answer.REPEATED: "accepted before; nothing has changed",
        Answer.KEPT: "no gate has this token yet; kept for the one that opens",
    }[answered.answer]
    print_document(settings, document, f"signal {token}: {said}")


@asynccontextmanager
async def _gates(settings: Settings) -> AsyncIterator[GateCoordinator]:
    """Give the chosen application's gates; where rows tell all, without importing one."""
    async with opened(settings, by_rows=True, plugins=[PLUGIN]) as app:
        yield app.coordinator(GateCoordinator)


def _payload(data: str) -> str:
    try:
        if data == "@-":
            data = sys.stdin.read()
        elif data.startswith("@"):
            data = Path(data[1:]).read_text(encoding="utf-8")
        json.loads(data)
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(str(error), param_hint="--data") from error
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(
            f"{error}; a text is JSON in quotes: --data '\"done\"'", param_hint="--data"
        ) from error
    return data


def _user() -> str:
    """Return who calls; in a container that may be a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _document(gate: Gate) -> dict[str, object]:
    return {
        "gate_id": gate.id,
        "token": gate.token,
        "status": gate.status.value,
        "asset": gate.asset,
        "partition": gate.partition,
        "run_id": gate.run_id,
        "materialization_id": gate.materialization_id,
        "attempt": gate.attempt,
        "opened_at": time_text(gate.opened_at),
        "timeout_at": time_text(gate.timeout_at),
        "timeout_action": gate.timeout_action.value,
        "timeout_retries": gate.timeout_retries,
        "max_timeout_retries": gate.max_timeout_retries,
        "metadata": json.loads(gate.metadata),
        "signaled_at": time_text(gate.signaled_at),
        "payload": None if gate.payload is None else json.loads(gate.payload),
        "sender": None if gate.sender is None else json.loads(gate.sender),
        "ended_at": time_text(gate.ended_at),
    }


def _text(gate: Gate) -> str:
    slice_ = f"[{gate.partition}]" if gate.partition else ""
    until = time_text(gate.timeout_at) or "it is signaled, however long that takes"
    lines = [
        f"gate {gate.token}: {gate.status}",
        f"{gate.asset}{slice_}, run {gate.run_id}, attempt {gate.attempt}",
        f"open since {time_text(gate.opened_at)}, until {until}, then: {gate.timeout_action}",
    ]
    if gate.metadata != "{}":
        lines.append(f"metadata: {gate.metadata}")
    if gate.payload is not None:
        lines.append(f"signaled {time_text(gate.signaled_at)}: {gate.payload}")
    if gate.sender is not None:
        lines.append(f"by: {gate.sender}")
    return "\n".join(lines)
