"""``flowstone top``: queues, workers, what runs and what fails, drawn anew every second."""

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.exit_codes import ExitCode
from flowstone.cli.output import harmless, is_table, print_document
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone.cli.top_frame import frame_document, frame_text, headline, parts_of
from flowstone.core.contracts.activity import Activity
from flowstone.core.contracts.store import Store
from flowstone.core.errors import DatabaseError

if TYPE_CHECKING:
    from rich.console import RenderableType

SECONDS = 1.0
ROWS = 20
"""Of each list, where no terminal limits them."""

FIXED_LINES = 3
"""Of a frame: the sums, an empty line, and the word about a database that is away."""

LINES_OF_PART = 3
"""Of each list: its title, its header, and an empty line."""


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Print what goes on now, and end.")
@pass_settings
def top_command(settings: Settings, once: bool) -> ExitCode:
    """
    Watch queues, workers, what runs and what fails; Ctrl-C ends it.

    It looks once a second, and what it asks for costs the database the same however much waits:
    more than 10,000 jobs in a queue are not counted. Without a terminal, and as JSON, it is printed
    once.
    """
    is_live = not once and is_table(settings) and sys.stdout.isatty()

    async def work() -> None:
        async with opened(settings, by_rows=True) as app:
            if is_live:
                await _watch(settings, app.store)
                return
            seen = await app.store.activity(most=ROWS)
            print_document(settings, frame_document(seen), frame_text(seen, ROWS))

    try:
        run_async(work)
    except KeyboardInterrupt:
        if not is_live:
            raise
    return ExitCode.OK


async def _watch(settings: Settings, store: Store) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(no_color=settings.is_colored() is False, highlight=False)
    seen = await store.activity(most=ROWS)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        trouble = ""
        while True:
            live.update(_drawn(seen, console.height, trouble), refresh=True)
            await asyncio.sleep(SECONDS)
            try:
                seen, trouble = await store.activity(most=max(ROWS, console.height)), ""
            except DatabaseError as error:
                if not error.retryable:
                    raise
                trouble = f"the database is away; this was before: {harmless(str(error))}"


def _drawn(activity: Activity, height: int, trouble: str) -> "RenderableType":
    """Return a frame for a terminal; each list has its share of the height, and not less than 1."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    room = height - FIXED_LINES - 4 * LINES_OF_PART
    lines: list[RenderableType] = [Text(headline(activity), style="bold", no_wrap=True), Text("")]
    if trouble:
        lines.insert(1, Text(trouble, style="bold red", no_wrap=True))
    for it in parts_of(activity, max(1, room // 4)):
        lines.append(Text(it.heading, style="bold cyan", no_wrap=True))
        if it.rows:
            table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
            for name in it.header:
                table.add_column(name, no_wrap=True, overflow="ellipsis")
            for row, is_alarming in zip(it.rows, it.is_alarming, strict=True):
                table.add_row(*map(Text, row), style="bold red" if is_alarming else None)
            lines.append(table)
        lines.append(Text(""))
    return Group(*lines)
