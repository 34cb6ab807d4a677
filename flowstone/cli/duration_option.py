"""Durations on the command line: ``60s``, ``10m``, ``1h30m``; a bare number is seconds."""

from datetime import timedelta

import click

from flowstone.core import duration
from flowstone.core.errors import InvalidOptionError


def read_duration(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> timedelta | None:
    """Read an option's text; to be an option's callback."""
    if text is None:
        return None
    number = text.replace(".", "", 1)
    try:
        return duration.parse(float(text) if number.isdecimal() else text, option=option.opts[-1])
    except InvalidOptionError as error:
        raise click.BadParameter(str(error), ctx=ctx, param=option) from error
