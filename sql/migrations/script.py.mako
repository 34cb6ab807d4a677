"""${message}."""

from flowstone.engine.schema import apply

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Name the SQL files to load; a table's change brings a file of its own."""
    ${upgrades if upgrades else 'apply("core/functions/changed_function.sql")'}
