"""
Which IO manager takes a value: its name and, where one was given, its configuration, in one text.

``lake``, or ``lake {"prefix":"eu"}``. Options, runs and rows carry this text, so every process that
reads it finds the same manager: configured by its registration, with these fields laid over it.
"""

import json
from collections.abc import Collection, Mapping
from typing import TypeAlias

from flowstone.core.errors import InvalidOptionError

IOLike: TypeAlias = str | tuple[str, Mapping[str, object]]
"""A registered name, or that and JSON-safe fields of its configuration."""


def text_of(io: IOLike) -> str:
    """
    Return the text of a choice; a text is one already.

    Raises:
        InvalidOptionError: It is neither, or its configuration is not JSON.
    """
    if isinstance(io, str):
        return io
    if isinstance(io, tuple) and len(io) == 2:
        name, config = io
        if isinstance(name, str) and isinstance(config, Mapping):
            return written(name, config)
    raise InvalidOptionError(
        f'io={io!r} must be the name of an IO manager, or io=("name", {{"field": value}})'
    )


def parse(text: str, known: Collection[str]) -> tuple[str, Mapping[str, object]]:
    """
    Return the name and the configuration of a text.

    Args:
        known: The registered names; a name may have any character, braces too.
    """
    if " {" not in text or text in known:
        return text, {}
    fitting = [name for name in known if text.startswith(f"{name} {{")]
    for name in (*sorted(fitting, key=len, reverse=True), text.partition(" {")[0]):
        try:
            config = json.loads(text.removeprefix(name))
        except ValueError:
            continue
        if isinstance(config, dict):
            return name, config
    return text, {}


def written(name: str, config: Mapping[str, object]) -> str:
    """Return the text for a name and a configuration, which has to be JSON."""
    if not config:
        return name
    try:
        text = json.dumps(
            dict(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOptionError(
            f"the configuration of IO manager '{name}' must be JSON: {error}"
        ) from error
    return f"{name} {text}"
