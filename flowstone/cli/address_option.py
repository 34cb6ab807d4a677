"""Addresses to listen on, on the command line: ``:8080``, ``0.0.0.0:8080``, ``[::1]:8080``."""

import click

LOCAL = "127.0.0.1"
MOST = 2**16


def read_address(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> tuple[str, int] | None:
    """Read an option's text as host and port; to be an option's callback."""
    if text is None:
        return None
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < MOST:
        message = f"{text!r} is no address; write such as :8080 or 0.0.0.0:8080"
        raise click.BadParameter(message, ctx=ctx, param=option)
    return host.strip("[]") or LOCAL, int(port)
