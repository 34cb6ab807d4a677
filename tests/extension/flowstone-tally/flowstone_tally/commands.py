"""The command: ``flowstone tally visitors --add 3``."""

import click

from flowstone.cli.application import opened
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import print_document
from flowstone.cli.running import run_async
from flowstone.cli.settings import Settings
from flowstone_tally.counts import Connection


@click.command(cls=Command)
@click.argument("name")
@click.option("--add", type=int, default=0, help="How many more.")
@pass_settings
def tally_command(settings: Settings, name: str, add: int) -> None:
    """Say how many there are, after adding some."""

    async def count() -> int:
        async with opened(settings) as app, Connection(str(app.dsn), app.schema) as counts:
            return await counts.add(name, add)

    total = run_async(count)
    print_document(settings, {"name": name, "count": total}, f"{name}: {total}")
