"""Sizes on the command line: ``512MB``, ``2GB``; a bare number is bytes. A thousand is 1024."""

import re

import click

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:I?B)?", re.IGNORECASE)


def read_size(ctx: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """Read an option's text as bytes; to be an option's callback."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    size = 0 if found is None else int(float(found[1]) * _UNITS[found[2].upper()])
    if size < 1:
        message = f"{text!r} is no size; write such as 512MB or 2GB"
        raise click.BadParameter(message, ctx=ctx, param=option)
    return size
