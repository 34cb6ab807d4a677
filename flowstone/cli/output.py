"""
Data to stdout, everything else to stderr.

A document in JSON is an object with ``schema_version``; a list is an object with ``items``, or in
JSON lines one object a line. Times are ISO 8601 in UTC.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click

from flowstone.cli.settings import Output, Settings

SCHEMA_VERSION = 1


def print_document(settings: Settings, document: Mapping[str, object], text: str) -> None:
    """
    Print one thing.

    Args:
        document: For machines; JSON-safe.
        text: For people.
    """
    if settings.output is Output.TABLE:
        click.echo(text)
    else:
        click.echo(_json(document, indented=settings.output is Output.JSON))


def print_items(settings: Settings, items: Sequence[Mapping[str, object]], text: str) -> None:
    """Print a list; the arguments are those of `print_document`."""
    if settings.output is Output.JSONL:
        for item in items:
            click.echo(_json(item, indented=False))
    else:
        print_document(settings, {"items": list(items)}, text)


def note(settings: Settings, text: str) -> None:
    """Tell something that is no data, unless only errors are wanted."""
    if not settings.quiet:
        click.echo(text, err=True)


def warn(text: str) -> None:
    """Tell something that has to be told even when only errors are wanted."""
    click.echo(text, err=True)


def is_table(settings: Settings) -> bool:
    """Whether people read what is printed."""
    return settings.output is Output.TABLE


def is_terminal(settings: Settings) -> bool:
    """Whether progress can be drawn."""
    return not settings.quiet and sys.stderr.isatty()


def columns(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table: each cell one line, columns as wide as their widest cell."""
    lines = [list(header), *([cell(value) for value in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def cell(value: object) -> str:
    """Return what a value looks like in one line of a terminal; nothing in it can steer that."""
    if value is None:
        return ""
    text = str(value).strip()
    head, newline, _ = text.partition("\n")
    shown = harmless(head.rstrip())
    return f"{shown} …" if newline else shown


def harmless(text: str) -> str:
    """Return the text without what a terminal would obey; lines stay lines."""
    return "".join(it if it.isprintable() or it == "\n" else "�" for it in text.expandtabs(4))


def time_text(moment: datetime | None) -> str | None:
    """Return an instant for machines."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_text(seconds: float | None) -> str:
    """Return a length of time for people."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 100:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def number(count: int, noun: str) -> str:
    """Return ``1 asset``, ``2 assets``."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def _json(document: Mapping[str, object], *, indented: bool) -> str:
    return json.dumps(
        {"schema_version": SCHEMA_VERSION, **document},
        ensure_ascii=False,
        indent=2 if indented else None,
    )
