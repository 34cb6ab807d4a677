"""Executions of parallel assets, and their branches."""

from flowstone.engine.schema import apply
from flowstone.engine.statements import truth

revision = "0001_parallel"
down_revision = None


def upgrade() -> None:
    """Load the truth as it stands: until the first release there is nothing else to be equal to."""
    apply(*truth("parallel"))
