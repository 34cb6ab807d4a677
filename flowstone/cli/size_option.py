"""Sizes on the command line: ``512MB``, ``2GB``; a bare number is bytes. A thousand is 1024."""

import click

from flowstone.core import byte_size
from flowstone.core.errors import InvalidOptionError


def read_size(ctx: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Read an option's text as bytes; to be an option's callback."""
    if text is None:
        return None
    try:
        return byte_size.parse(text, option=str(option.name))
    except InvalidOptionError as error:
        message = f"{text!r} is no size; write such as 512MB or 2GB"
        raise click.BadParameter(message, ctx=ctx, param=option) from error
