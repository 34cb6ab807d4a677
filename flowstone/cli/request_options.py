"""What may be asked for on the command line: targets, a partition, a configuration."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from flowstone.core import partition as partitions
from flowstone.core.application import FlowStone
from flowstone.core.asset import Asset
from flowstone.core.errors import FlowStoneError, UnknownAssetError
from flowstone.core.submission import RunArguments

_LIKE_A_DATE = r"\d{4}-\d{2}-\d{2}([T ].*)?"

F = TypeVar("F", bound=Callable[..., object])


def request_options(command: Callable[..., object]) -> Callable[..., object]:
    """
    Add TARGET… and the options of plan, run and enqueue.

    The command gets ``targets``, and the rest as ``request``: the arguments of `FlowStone.run`.
    """

    @wraps(command)
    def packed(
        *args: object,
        partition: object,
        force: bool,
        no_deps: bool,
        config: Mapping[str, object] | None,
        io: str | None,
        **rest: object,
    ) -> object:
        request = RunArguments(
            partition=partition, force=force, with_deps=not no_deps, config=config, io=io
        )
        return command(*args, request=request, **rest)

    for decorate in reversed(
        (
            click.argument("targets", nargs=-1, required=True, metavar="TARGET..."),
            partition_option,
            click.option("--force", is_flag=True, help="Compute the targets even if fresh."),
            click.option(
                "--no-deps",
                is_flag=True,
                help="Leave upstreams as they are; each has to have a value.",
            ),
            click.option(
                "--config",
                metavar="K=V|@FILE",
                multiple=True,
                callback=_read_config,
                help="The targets' configuration, field by field (V is JSON, or else a text), or "
                "a JSON object in a file. Repeatable; later ones win.",
            ),
            click.option(
                "--io",
                help="The IO manager that takes the targets' values: its name, or 'NAME {JSON}' "
                "with fields of its configuration.",
            ),
        )
    ):
        packed = decorate(packed)
    return packed


def partition_option(command: F) -> F:
    """Add the option ``-p``; the command gets the decoded partition."""
    return click.option(
        "-p",
        "--partition",
        metavar="PART",
        callback=_read_partition,
        help="The partition: a text, an ISO date or datetime (2025-01-15), or its encoded form "
        "(d:2025-01-15, t:… for tuples, s:… for any text).",
    )(command)


def resolve(app: FlowStone, names: Sequence[str]) -> list[Asset[..., object]]:
    """
    Return the assets of these names; the name of a pipeline is all of its assets.

    Raises:
        UnknownAssetError: There is neither.
        DefinitionError: Several pipelines have an asset of that name.
    """
    found: dict[str, Asset[..., object]] = {}
    for name in names:
        for asset in _resolve_one(app, name):
            found[asset.full_name] = asset
    return list(found.values())


def _resolve_one(app: FlowStone, name: str) -> Sequence[Asset[..., object]]:
    try:
        return [app.definitions.get(name)]
    except UnknownAssetError:
        pipeline = app.definitions.pipelines.get(name)
        if pipeline is None or not pipeline.assets:
            raise
        return pipeline.assets


def _read_partition(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> partitions.Partition:
    try:
        partition = partitions.decode(text)
    except FlowStoneError as error:
        raise click.BadParameter(str(error), ctx=ctx, param=option) from error
    if text and text == partition and re.fullmatch(_LIKE_A_DATE, text):
        encoded = partitions.encode(partition)
        raise click.BadParameter(
            f"{text!r} looks like a date and is none; as a text it is {encoded}", ctx, option
        )
    return partition


def _read_config(
    ctx: click.Context, option: click.Parameter, given: Sequence[str]
) -> Mapping[str, object] | None:
    config: dict[str, object] = {}
    for text in given:
        if text.startswith("@"):
            config.update(_config_file(text[1:], ctx, option))
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(
                f"{text!r}: expected field=value or @file.json", ctx=ctx, param=option
            )
        config[name.strip()] = json_or_text(value)
    return config or None


def _config_file(name: str, ctx: click.Context, option: click.Parameter) -> Mapping[str, object]:
    try:
        document: Any = json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise click.BadParameter(f"{name}: {error}", ctx=ctx, param=option) from error
    if not isinstance(document, dict):
        raise click.BadParameter(f"{name}: expected a JSON object", ctx=ctx, param=option)
    return document


def json_or_text(value: str) -> object:
    """Return what a text means as JSON, or the text."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
