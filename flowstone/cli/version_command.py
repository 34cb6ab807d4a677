"""``flowstone version``."""

import click

import flowstone
from flowstone.cli.command import Command, pass_settings
from flowstone.cli.output import print_document
from flowstone.cli.settings import Settings


@click.command(cls=Command)
@pass_settings
def version_command(settings: Settings) -> None:
    """Print the version."""
    print_document(settings, {"version": flowstone.__version__}, flowstone.__version__)
