"""``flowstone asset``: what the assets are, what they rest on, and where their values stand."""

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence

import click

from flowstone.cli.application import load, opened
from flowstone.cli.asset_documents import (
    asset_document,
    asset_text,
    history_row,
    list_text,
    listed_state,
    signature_document,
    state_document,
)
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import columns, is_table, note, print_document, print_items
from flowstone.cli.request_options import partition_option, resolve
from flowstone.cli.run_documents import key_text, materialization_document
from flowstone.cli.run_graph import notes_of_run
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.core import partition as partitions
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.contracts.store import Current, Key, MaterializationRecord
from flowstone.core.errors import NotStoredError
from flowstone.core.graph import Format, render
from flowstone.core.status import Status

HISTORY = ("materialization", "run", "status", "attempt", "started", "took", "why")


@click.command(cls=Command)
@click.argument("targets", nargs=-1, metavar="[ASSET|PIPELINE]...")
@partition_option
@pass_settings
def ls_command(settings: Settings, targets: Sequence[str], partition: object) -> None:
    """
    List assets: where each stands, and what was said about it.

    The state is that of the partition that was worked on last, or of the one that is given.
    """
    wanted = partitions.encode(partition) if partition is not None else None

    async def work() -> list[dict[str, object]]:
        async with opened(settings) as app:
            assets = resolve(app, targets) if targets else list(app.definitions)
            latest = await _latest(app, assets, wanted)
            keys = {it: Key(it.full_name, latest[it.full_name][0]) for it in assets}
            every = [key for it in assets for key in _keys(it, keys[it].partition)]
            found, _ = await app.store.current(every)
            items = []
            for it in assets:
                current = _first(found, _keys(it, keys[it].partition))
                state = {
                    "state": listed_state(latest[it.full_name][1], current),
                    "partition": keys[it].partition or None,
                }
                items.append({**asset_document(it), **state})
            return items

    items = run_async(work)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_items(settings, items, list_text(items, width) if items else "no assets")


@click.command(cls=Command)
@click.argument("name", metavar="ASSET")
@partition_option
@pass_settings
def show_command(settings: Settings, name: str, partition: object) -> None:
    """
    Show one asset: what it takes and gives, what is before and after it, and where it stands.

    The state is that of the partition that was worked on last, or of the one that is given.
    """
    wanted = partitions.encode(partition) if partition is not None else None

    async def work() -> tuple[dict[str, object], str]:
        async with opened(settings) as app:
            asset = app.definitions.get(name)
            at = (await _latest(app, [asset], wanted))[asset.full_name][0]
            keys = _keys(asset, at)
            found, _ = await app.store.current(keys)
            current = _first(found, keys)
            attempts = await _history(app, asset, at, 1)
            latest = attempts[0] if attempts else None
            document = {
                **asset_document(asset),
                **signature_document(asset, app.definitions.dag),
                **state_document(keys[0], current, latest),
            }
            return document, asset_text(asset, app, keys[0], current, latest)

    print_document(settings, *run_async(work))


@click.command(cls=Command)
@click.argument("targets", nargs=-1, metavar="[ASSET|PIPELINE]...")
@click.option(
    "-f",
    "--format",
    "format_",
    type=click.Choice(["ascii", "mermaid", "dot", "json"]),
    help="ascii if not said; -o json is json.",
)
@click.option(
    "--run",
    "run_id",
    metavar="RUN",
    type=click.IntRange(1, 2**63 - 1),
    help="Only what a run is made of, and how it stands there.",
)
@pass_settings
def graph_command(
    settings: Settings, targets: Sequence[str], format_: Format | None, run_id: int | None
) -> None:
    """
    Draw the dependencies of everything, of pipelines, or of what an asset hangs together with.

    Needs no database, but for --run.
    """
    if targets and run_id is not None:
        raise click.UsageError("a run has its own assets: name some, or give --run")

    async def read() -> tuple[FlowStone, Mapping[str, str]]:
        async with opened(settings) as app:
            return app, await notes_of_run(app, run_id or 0)

    if run_id is None:
        app, notes = load(settings), None
        names = _neighborhood(app, targets) if targets else None
    else:
        app, notes = run_async(read)
        names = {*notes} & {*app.definitions.dag.nodes}
    chosen: Format = format_ or ("ascii" if is_table(settings) else "json")
    given = app.definitions
    text = render(given.dag, names, format=chosen, labels=given.labels, notes=notes)
    if is_table(settings):
        click.echo(text)
    else:
        graph = json.loads(text) if chosen == "json" else {"format": chosen, "graph": text}
        print_document(settings, graph, text)


@click.command(cls=Command)
@click.argument("name", metavar="ASSET")
@partition_option
@pass_settings
def value_command(settings: Settings, name: str, partition: object) -> None:
    """Print the stored value as JSON."""

    async def work() -> tuple[Key, str]:
        async with opened(settings) as app:
            asset = app.definitions.get(name)
            key = Key(asset.full_name, partitions.encode(partition))
            try:
                value = await app.get(asset, partition=partition)
            except NotStoredError as error:
                hint = await _elsewhere(app, asset, key)
                raise NotStoredError(f"{error}{hint}") from error
            return key, app.codec.encode(value)

    key, text = run_async(work)
    value = {"asset": key.asset, "partition": key.partition or None}
    if is_table(settings):
        click.echo(text)
    else:
        print_document(settings, {**value, "value": json.loads(text)}, text)


@click.command(cls=Command)
@click.argument("name", metavar="ASSET")
@partition_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@pass_settings
def history_command(settings: Settings, name: str, partition: object, limit: int) -> None:
    """List the materializations of an asset's partition, newest first."""

    async def work() -> tuple[list[MaterializationRecord], str]:
        async with opened(settings) as app:
            asset = app.definitions.get(name)
            key = Key(asset.full_name, partitions.encode(partition))
            found = await _history(app, asset, key.partition, limit)
            hint = "" if found else await _elsewhere(app, asset, key)
            return found, f"{key_text(key)} was never materialized{hint}"

    found, nothing = run_async(work)
    text = columns(HISTORY, [history_row(it) for it in found]) if found else ""
    print_items(settings, [materialization_document(it) for it in found], text or nothing)


@click.command(cls=Command)
@click.argument("name", metavar="ASSET")
@partition_option
@click.option("--no-downstream", is_flag=True, help="Leave what was made from it as it is.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@pass_settings
def invalidate_command(
    settings: Settings, name: str, partition: object, no_downstream: bool, yes: bool
) -> None:
    """
    Declare a value stale, and with it all that was made from it; the next run computes them.

    On a terminal it says how many that is, and asks.
    """

    async def work() -> int:
        async with opened(settings) as app:
            asset = app.definitions.get(name)
            keys = _keys(asset, partitions.encode(partition))
            if not yes and _is_asked():
                _confirm(app, keys, downstream=not no_downstream)
            count = await app.invalidate(asset, partition=partition, downstream=not no_downstream)
            if not count:
                note(settings, f"nothing to do{await _elsewhere(app, asset, keys[0])}")
            return count

    count = run_async(work)
    print_document(settings, {"invalidated": count}, f"{count} invalidated")


def _is_asked() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _confirm(app: FlowStone, keys: Sequence[Key], *, downstream: bool) -> None:
    """
    Say how much would become stale, and ask whether to go on.

    Raises:
        click.Abort: The answer is no.
    """
    more = " and what was made from it" if downstream else ""
    what = f"{key_text(keys[0])}{more}"
    if (place := _place(app)) is not None:
        from flowstone.engine.invalidation import count_invalidated

        dsn, schema = place
        count = count_invalidated(dsn, keys, downstream=downstream, schema=schema)
        if count == 0:
            return
        what += f", {count:,} value{'s' if count > 1 else ''}"
    click.confirm(f"Invalidate {what}?", abort=True, err=True)


async def _latest(
    app: FlowStone, assets: Sequence[Asset[..., object]], partition: str | None
) -> Mapping[str, tuple[str, Status | None]]:
    """Return each asset's latest partition, and what is known of its newest materialization."""
    names = [asset.full_name for asset in assets]
    found: dict[str, tuple[str, Status | None]] = dict.fromkeys(names, (partition or "", None))
    if (place := _place(app)) is not None:
        from flowstone.engine.latest_partitions import latest_partitions

        dsn, schema = place
        latest = latest_partitions(dsn, names, partition=partition, schema=schema)
        return found | {name: (it.partition, it.status) for name, it in latest.items()}
    for asset in assets:
        attempts = await _history(app, asset, partition or "", 1)
        if attempts:
            found[asset.full_name] = (partition or "", attempts[0].status)
    return found


def _place(app: FlowStone) -> tuple[str, str] | None:
    """Return the DSN and schema when the application keeps its rows on Postgres."""
    from flowstone.engine.store import PostgresStore

    if app.dsn is None or not isinstance(app.store, PostgresStore):
        return None
    return app.dsn, app.schema


async def _elsewhere(app: FlowStone, asset: Asset[..., object], key: Key) -> str:
    """Say which partition there is something of, when there is nothing of this one."""
    latest = (await _latest(app, [asset], None))[asset.full_name][0]
    if latest == key.partition:
        return ""
    shown = f"-p {shlex.quote(latest)}" if latest else "without -p"
    return f" (its latest partition: {shown})"


async def _history(
    app: FlowStone, asset: Asset[..., object], partition: str, limit: int
) -> list[MaterializationRecord]:
    found = [
        it for key in _keys(asset, partition) for it in await app.store.history(key, limit=limit)
    ]
    return sorted(found, key=lambda it: -it.id)[:limit]


def _keys(asset: Asset[..., object], partition: str) -> list[Key]:
    """Return the keys of a partition, by the asset's present name first and by its former ones."""
    return [Key(name, partition) for name in (asset.full_name, *asset.options.aliases)]


def _first(found: Mapping[Key, Current], keys: Sequence[Key]) -> Current | None:
    return next((found[key] for key in keys if key in found), None)


def _neighborhood(app: FlowStone, targets: Sequence[str]) -> set[str]:
    """Return the assets of pipelines, and of an asset all that is before and after it."""
    names: set[str] = set()
    for target in targets:
        own = [it.full_name for it in resolve(app, [target])]
        names.update(own)
        if target not in app.definitions.pipelines:
            names.update(app.definitions.dag.ancestors(own), app.definitions.dag.descendants(own))
    return names
